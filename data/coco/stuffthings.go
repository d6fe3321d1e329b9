package coco

import (
	"slices"

	"must/data"
)

// StuffThings are the 171 classes of COCO-Stuff, 80 things and 91 stuffs: its labels.txt without the 11
// that were never annotated.
var StuffThings = []string{
	"person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
	"fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow",
	"elephant", "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee",
	"skis", "snowboard", "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard",
	"tennis racket", "bottle", "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple",
	"sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch",
	"potted plant", "bed", "dining table", "toilet", "tv", "laptop", "mouse", "remote", "keyboard",
	"cell phone", "microwave", "oven", "toaster", "sink", "refrigerator", "book", "clock", "vase", "scissors",
	"teddy bear", "hair drier", "toothbrush",
	"banner", "blanket", "branch", "bridge", "building-other", "bush", "cabinet", "cage", "cardboard",
	"carpet", "ceiling-other", "ceiling-tile", "cloth", "clothes", "clouds", "counter", "cupboard", "curtain",
	"desk-stuff", "dirt", "door-stuff", "fence", "floor-marble", "floor-other", "floor-stone", "floor-tile",
	"floor-wood", "flower", "fog", "food-other", "fruit", "furniture-other", "grass", "gravel",
	"ground-other", "hill", "house", "leaves", "light", "mat", "metal", "mirror-stuff", "moss", "mountain",
	"mud", "napkin", "net", "paper", "pavement", "pillow", "plant-other", "plastic", "platform",
	"playingfield", "railing", "railroad", "river", "road", "rock", "roof", "rug", "salad", "sand", "sea",
	"shelf", "sky-other", "skyscraper", "snow", "solid-other", "stairs", "stone", "straw",
	"structural-other", "table", "tent", "textile-other", "towel", "tree", "vegetable", "wall-brick",
	"wall-concrete", "wall-other", "wall-panel", "wall-stone", "wall-tile", "wall-wood", "water-other",
	"waterdrops", "window-blind", "window-other", "wood",
}

// neverUsed are the category ids without annotations.
var neverUsed = []int{12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91}

// stuffClass gives the index in StuffThings of a value in a map, which is a category id less one.
var stuffClass = func() (class [256]uint8) {
	n := 0
	for v := range class {
		class[v] = data.Ignore
		if n < len(StuffThings) && !slices.Contains(neverUsed, v+1) {
			class[v] = uint8(n)
			n++
		}
	}
	return class
}()
