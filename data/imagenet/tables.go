package imagenet

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"must/data"
	"must/data/matfile"
	"must/data/text"
)

const (
	maxTable = 64 << 20 // bytes of a text or .mat file

	devkitTar   = "ILSVRC2012_devkit_t12.tar.gz"
	metaMat     = "meta.mat"
	groundTruth = "ILSVRC2012_validation_ground_truth.txt"
)

// tables are what the files beside the images say.
type tables struct {
	words       map[string]string // names by id; nil: no file lists the classes
	source      string            // that file
	truth       map[string]string // ids of validation images by the stem of their name; nil: no file
	truthSource string
}

// ids returns the sorted ids of all classes.
func (t *tables) ids(parts map[string]*part) []string {
	var ids []string
	if t.words != nil {
		for id := range t.words {
			ids = append(ids, id)
		}
	} else {
		t.source = "the class folders"
		for _, p := range parts {
			if p != nil {
				ids = append(ids, p.ids...)
			}
		}
		for _, id := range t.truth {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// names returns what classes are called: their words, with the id where two classes share them, such as crane
// the bird and crane the machine; else their ids.
func (t *tables) names(ids []string) []string {
	count := map[string]int{}
	for _, id := range ids {
		count[t.words[id]]++
	}
	names := make([]string, len(ids))
	for i, id := range ids {
		switch w := t.words[id]; {
		case w == "":
			names[i] = id
		case count[w] > 1:
			names[i] = fmt.Sprintf("%s (%s)", w, id)
		default:
			names[i] = w
		}
	}
	return names
}

// readTables reads the files of classes and of validation labels, of each the first that there is:
//
//	LOC_synset_mapping.txt, synset_words.txt            lines "n01440764 tench, Tinca tinca"
//	meta.mat of the devkit
//
//	LOC_val_solution.csv, val_annotations.txt           image, id, boxes
//	imagenet_2012_validation_synset_labels.txt          the id of image 1, 2, …
//	ILSVRC2012_validation_ground_truth.txt of the devkit
//
// The last has numbers of the devkit's own, which meta.mat alone can tell: 490 there is sea snake, 65 here.
func readTables(root string) (*tables, error) {
	t := &tables{truthSource: "any file of validation labels (LOC_val_solution.csv, " + groundTruth + ")"}
	kit := &devkit{root: root}
	for _, name := range []string{"LOC_synset_mapping.txt", "synset_words.txt"} {
		file, text, err := readTable(root, name)
		if err != nil {
			return nil, err
		}
		if text != nil {
			if t.words, err = parseSynsets(string(text)); err != nil {
				return nil, fmt.Errorf("%s:%w", file, err)
			}
			t.source = file
			break
		}
	}
	if t.words == nil {
		file, byNumber, words, err := kit.meta()
		if err != nil {
			return nil, err
		}
		if byNumber != nil {
			t.words, t.source = words, file
		}
	}
	for _, format := range []struct {
		name  string
		parse func(text string) (map[string]string, error)
	}{
		{"LOC_val_solution.csv", parseAnnotations},
		{"val_annotations.txt", parseAnnotations},
		{"imagenet_2012_validation_synset_labels.txt", parseLabels},
	} {
		file, text, err := readTable(root, format.name)
		if err != nil {
			return nil, err
		}
		if text != nil {
			if t.truth, err = format.parse(string(text)); err != nil {
				return nil, fmt.Errorf("%s:%w", file, err)
			}
			t.truthSource = file
			return t, nil
		}
	}
	return t, kit.truth(t)
}

// readTable reads a file that may be in the folder of the set, of its images, or of the devkit; nil
// if it is in none.
func readTable(root, name string) (file string, content []byte, err error) {
	for _, folder := range []string{".", "ILSVRC", "val", "data", "devkit/data", "ILSVRC2012_devkit_t12/data"} {
		file = filepath.Join(root, filepath.FromSlash(folder), name)
		content, err = data.ReadFile(file, maxTable)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if ext := filepath.Ext(name); err == nil && (ext == ".txt" || ext == ".csv") {
			var plain string
			if plain, err = text.Decode(content, ""); err != nil {
				return file, nil, fmt.Errorf("%s: %w", file, err)
			}
			content = []byte(plain)
		}
		return file, content, err
	}
	return "", nil, nil
}

// parseSynsets reads lines of an id and words.
func parseSynsets(text string) (map[string]string, error) {
	words := map[string]string{}
	n := 0
	for line := range strings.Lines(strings.TrimPrefix(text, "\ufeff")) {
		n++
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		id, rest, _ := strings.Cut(line, " ")
		if !wnidPattern.MatchString(id) {
			return nil, fmt.Errorf("%d: %.80q does not begin with an id such as n01440764", n, line)
		}
		words[id] = strings.ToValidUTF8(strings.TrimSpace(rest), "\uFFFD")
	}
	if len(words) == 0 {
		return nil, errors.New("1: it lists no class")
	}
	return words, nil
}

// parseAnnotations reads lines of an image, an id and more, separated by spaces, tabs or commas; a first
// line may name the columns.
func parseAnnotations(text string) (map[string]string, error) {
	truth := map[string]string{}
	n := 0
	for line := range strings.Lines(strings.TrimPrefix(text, "\ufeff")) {
		n++
		fields := strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(", \t\r\n", r) })
		if len(fields) == 0 || n == 1 && fields[0] == "ImageId" {
			continue
		}
		if len(fields) < 2 || !wnidPattern.MatchString(fields[1]) {
			return nil, fmt.Errorf("%d: %.80q is no image and id such as n01440764", n, strings.TrimSpace(line))
		}
		name := fields[0]
		switch ext := path.Ext(name); strings.ToLower(ext) {
		case ".jpeg", ".jpg", ".png":
			name = strings.TrimSuffix(name, ext)
		}
		truth[name] = fields[1]
	}
	if len(truth) == 0 {
		return nil, errors.New("1: it names no image")
	}
	return truth, nil
}

// stem is the name of a validation image by its number, from 1.
func stem(n int) string { return fmt.Sprintf("ILSVRC2012_val_%08d", n) }

// parseLabels reads lines of the id of image 1, 2, …
func parseLabels(text string) (map[string]string, error) {
	truth := map[string]string{}
	for _, id := range strings.Fields(text) {
		if !wnidPattern.MatchString(id) {
			return nil, fmt.Errorf("%d: %.80q is no id such as n01440764", len(truth)+1, id)
		}
		truth[stem(len(truth)+1)] = id
	}
	if len(truth) == 0 {
		return nil, errors.New("1: it names no image")
	}
	return truth, nil
}

// A devkit is ILSVRC2012_devkit_t12, unpacked or not.
type devkit struct {
	root   string
	packed map[string][]byte // of the archive; nil: not yet read
}

// file returns one of its files, nil if there is no devkit.
func (k *devkit) file(name string) (file string, content []byte, err error) {
	file, content, err = readTable(k.root, name)
	if err != nil || content != nil {
		return file, content, err
	}
	file = filepath.Join(k.root, devkitTar)
	if k.packed == nil {
		if k.packed, err = readPacked(file, metaMat, groundTruth); err != nil {
			return file, nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	return file + ": " + name, k.packed[name], nil
}

// readPacked returns the files of the given names in a tar.gz; none where it does not exist.
func readPacked(file string, names ...string) (map[string][]byte, error) {
	out := map[string][]byte{}
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return out, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	t := tar.NewReader(io.LimitReader(z, 4*maxTable))
	for {
		h, err := t.Next()
		if err == io.EOF {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("it is damaged or cut short: %w; fetch it again", err)
		}
		name := path.Base(h.Name)
		if h.Typeflag != tar.TypeReg || !slices.Contains(names, name) {
			continue
		}
		if h.Size > maxTable {
			return nil, fmt.Errorf("%s: %d MB are too many", h.Name, h.Size>>20)
		}
		var b bytes.Buffer
		if _, err := io.Copy(&b, t); err != nil {
			return nil, fmt.Errorf("%s: %w", h.Name, err)
		}
		out[name] = b.Bytes()
	}
}

// classes is how many of the synsets of meta.mat, 1860 in all, are classes: those numbered 1 to 1000.
const classes = 1000

// meta returns ids by the devkit's numbers, and the words of ids; nil if there is no devkit.
func (k *devkit) meta() (file string, byNumber map[int]string, words map[string]string, err error) {
	file, content, err := k.file(metaMat)
	if err != nil || content == nil {
		return file, nil, nil, err
	}
	vars, err := matfile.Decode(content)
	if err != nil {
		return file, nil, nil, fmt.Errorf("%s: %w", file, err)
	}
	fields := vars["synsets"].Fields
	numbers, ids, names := fields["ILSVRC2012_ID"], fields["WNID"], fields["words"]
	byNumber, words = map[int]string{}, map[string]string{}
	for i := range min(len(numbers), len(ids), len(names)) {
		if len(numbers[i].Numbers) != 1 || !wnidPattern.MatchString(ids[i].Text) {
			return file, nil, nil, fmt.Errorf("%s: synset %d has no number or no id", file, i+1)
		}
		if n := numbers[i].Numbers[0]; n >= 1 && n <= classes {
			byNumber[int(n)] = ids[i].Text
			words[ids[i].Text] = names[i].Text
		}
	}
	if len(byNumber) == 0 {
		return file, nil, nil, fmt.Errorf("%s: no synsets with ILSVRC2012_ID, WNID and words in it", file)
	}
	return file, byNumber, words, nil
}

// truth reads the devkit's validation labels, if there are any, into t.
func (k *devkit) truth(t *tables) error {
	file, content, err := k.file(groundTruth)
	if err != nil || content == nil {
		return err
	}
	meta, byNumber, _, err := k.meta()
	if err != nil {
		return err
	}
	if byNumber == nil {
		return fmt.Errorf("%s: its numbers are the devkit's own: put meta.mat, or all of %s, beside it", file, devkitTar)
	}
	t.truth, t.truthSource = map[string]string{}, file
	for i, field := range strings.Fields(string(content)) {
		n, err := strconv.Atoi(field)
		if err != nil || byNumber[n] == "" {
			return fmt.Errorf("%s:%d: %.20q is no number of a class in %s", file, i+1, field, meta)
		}
		t.truth[stem(i+1)] = byNumber[n]
	}
	return nil
}
