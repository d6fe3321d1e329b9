package metric

import (
	"cmp"
	"math"
	"slices"
)

// The protocol of COCO's evaluation, as pycocotools' cocoeval.py runs it.
const (
	cocoIoUs    = 10  // thresholds .50:.05:.95
	cocoRecalls = 101 // recall points 0:.01:1
	cocoMaxDets = 100 // detections per image and class that count
)

// cocoThresholds are rounded as numpy's linspace rounds them: an IoU can lie on one.
var cocoThresholds = func() (t [cocoIoUs]float64) {
	lo, hi := 0.5, 0.95
	step := (hi - lo) / (cocoIoUs - 1)
	for i := range t {
		t[i] = lo + float64(float64(i)*step)
	}
	t[cocoIoUs-1] = hi
	return t
}()

// Area ranges in px², both ends inclusive: all, small, medium, large.
var cocoAreas = [4][2]float64{{0, 1e10}, {0, 32 * 32}, {32 * 32, 96 * 96}, {96 * 96, 1e10}}

// A cocoTruth is what the protocol needs to know of a true object, besides its IoUs.
type cocoTruth struct {
	area  float64
	crowd bool
	// hidden objects are matched but their matches do not count: pycocotools takes the annotation
	// id 0 for "no match".
	hidden bool
}

// A cocoDetection is what the protocol needs to know of a detection, besides its IoUs.
type cocoDetection struct{ score, area float64 }

// A cocoVerdict is the outcome of one detection: for every area range one bit per IoU threshold.
type cocoVerdict struct {
	score            float64
	rank             int32 // among the detections of its image and class
	matched, ignored [len(cocoAreas)]uint16
}

// A cocoTally collects the outcomes for one class.
type cocoTally struct {
	verdicts  []cocoVerdict
	positives [len(cocoAreas)]int // true objects that count
}

// A cocoMatcher matches one image and class at a time; it only holds memory to be used again.
type cocoMatcher struct {
	order []int
	taken []bool
}

// match matches the detections of one image and class, the highest scores first, with the true
// objects. ious[d*len(truth)+t] is the IoU of detection d with object t.
func (m *cocoMatcher) match(tally *cocoTally, truth []cocoTruth, dets []cocoDetection, ious []float64) {
	first := len(tally.verdicts)
	for i, d := range dets {
		tally.verdicts = append(tally.verdicts, cocoVerdict{score: d.score, rank: int32(i)})
	}
	verdicts := tally.verdicts[first:]
	for a, limits := range cocoAreas {
		outside := func(area float64) bool { return area < limits[0] || area > limits[1] }
		ignored := func(t int) bool { return truth[t].crowd || outside(truth[t].area) }
		// Objects that count come first, so that a detection prefers them.
		m.order = m.order[:0]
		for t := range truth {
			if !ignored(t) {
				m.order = append(m.order, t)
			}
		}
		counted := len(m.order)
		for t := range truth {
			if ignored(t) {
				m.order = append(m.order, t)
			}
		}
		tally.positives[a] += counted

		for i, threshold := range cocoThresholds {
			bit := uint16(1) << i
			m.taken = append(m.taken[:0], make([]bool, len(truth))...)
			for d := range dets {
				best, found := threshold, -1
				for k, t := range m.order {
					if k == counted && found >= 0 {
						break
					}
					if m.taken[t] && !truth[t].crowd || ious[d*len(truth)+t] < best {
						continue
					}
					best, found = ious[d*len(truth)+t], k
				}
				v := &verdicts[d]
				if found >= 0 {
					t := m.order[found]
					m.taken[t] = true
					if found >= counted {
						v.ignored[a] |= bit
					}
					if !truth[t].hidden {
						v.matched[a] |= bit
						continue
					}
				}
				if outside(dets[d].area) {
					v.ignored[a] |= bit
				}
			}
		}
	}
}

// cocoSettings are the pairs of area range and detections per image that the summary needs.
var cocoSettings = [...]struct{ area, maxDets int }{{0, 1}, {0, 10}, {0, 100}, {1, 100}, {2, 100}, {3, 100}}

// A cocoScore holds the results of one class per setting and threshold; both are -1 where the class
// has no true object.
type cocoScore struct {
	precision, recall [len(cocoSettings)][cocoIoUs]float64
}

// score ranks all detections of the class and computes average precision and recall.
func (t *cocoTally) score() cocoScore {
	order := make([]int32, len(t.verdicts))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(i, j int32) int {
		return cmp.Or(byScore(t.verdicts[i].score, t.verdicts[j].score), cmp.Compare(i, j))
	})
	var s cocoScore
	var curve []float64
	for k, setting := range cocoSettings {
		a := setting.area
		for i := range cocoIoUs {
			if t.positives[a] == 0 {
				s.precision[k][i], s.recall[k][i] = -1, -1
				continue
			}
			// curve holds the precision at every true positive: recall moves nowhere else.
			curve = curve[:0]
			wrong := 0
			bit := uint16(1) << i
			for _, n := range order {
				v := &t.verdicts[n]
				switch {
				case int(v.rank) >= setting.maxDets || v.ignored[a]&bit != 0:
				case v.matched[a]&bit != 0:
					hits := float64(len(curve) + 1)
					curve = append(curve, hits/(float64(wrong)+hits+0x1p-52))
				default:
					wrong++
				}
			}
			s.recall[k][i] = float64(len(curve)) / float64(t.positives[a])
			s.precision[k][i] = meanPrecision(curve, t.positives[a])
		}
	}
	return s
}

// meanPrecision returns the mean, over the recall points, of the best precision at that recall or a
// higher one. curve[k] is the precision at recall (k+1)/positives.
func meanPrecision(curve []float64, positives int) float64 {
	for k := len(curve) - 2; k >= 0; k-- {
		curve[k] = max(curve[k], curve[k+1])
	}
	sum, k := 0.0, 0
	for r := range cocoRecalls {
		point := float64(r) * 0.01
		for k < len(curve) && float64(k+1)/float64(positives) < point {
			k++
		}
		if k == len(curve) {
			break
		}
		sum += curve[k]
	}
	return sum / cocoRecalls
}

// byScore orders scores from high to low, NaN last.
func byScore(a, b float64) int { return cmp.Compare(b, a) }

// class returns the numbers of the class, by its score; NaN where it has no true object.
func (t *cocoTally) class(s cocoScore) ClassValue {
	v := ClassValue{Truth: int64(t.positives[0]), Predicted: int64(len(t.verdicts))}
	numbers := summarize([]cocoScore{s})
	for i, n := range numbers[:3] {
		if n < 0 {
			n = math.NaN()
		}
		v.Values = append(v.Values, Value{cocoNames[i], n, true})
	}
	return v
}

// cocoNames name the twelve numbers of the summary.
var cocoNames = [12]string{
	"AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl",
}

// summarize returns the twelve numbers, each the mean over the classes that have true objects, -1
// if none has.
func summarize(scores []cocoScore) (s [12]float64) {
	mean := func(recall bool, setting, lo, hi int) float64 {
		sum, n := 0.0, 0.0
		for i := range scores {
			values := &scores[i].precision[setting]
			if recall {
				values = &scores[i].recall[setting]
			}
			for _, v := range values[lo:hi] {
				if v > -1 {
					sum += v
					n++
				}
			}
		}
		if n == 0 {
			return -1
		}
		return sum / n
	}
	s[0] = mean(false, 2, 0, cocoIoUs)
	s[1] = mean(false, 2, 0, 1)
	s[2] = mean(false, 2, 5, 6)
	for k := range 3 {
		s[3+k] = mean(false, 3+k, 0, cocoIoUs)
		s[6+k] = mean(true, k, 0, cocoIoUs)
		s[9+k] = mean(true, 3+k, 0, cocoIoUs)
	}
	return s
}
