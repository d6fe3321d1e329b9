#!/bin/sh
# sh recipes/evidence-photos.sh DIR OUT      lays out for recipes/evidence-photos.yaml, as links, what DIR holds:
# one folder for each set, with its lists of ids, train.txt, val.txt and test.txt
#   imagenette10, grocery                 train/<class>/*, val/<class>/*, test/<class>/*
#   dawn_traffic, fruit, animals          images/, annotations/ (Pascal VOC's XML)
#   nyu_seg, ccp_clothes                  images/, masks/ (indices, 255 unknown), classes.txt; nyu_seg: train_half.txt
#   nyu_depth, rgbd_rooms                 rgb/, depth/ (16 bits, millimetres); nyu_depth: train_half.txt
#   BCCD                                  Pascal VOC's own layout
#   pool_photos, pool_tiny64              images/
set -eu
from=$(cd "$1" && pwd)
mkdir -p "$2"
out=$(cd "$2" && pwd)
link() { mkdir -p "$(dirname "$2")"; ln -sfn "$1" "$2"; }
for set in imagenette10 grocery BCCD; do link "$from/$set" "$out/$set"; done
for set in dawn_traffic fruit animals; do
	link "$from/$set/images" "$out/$set/JPEGImages"
	link "$from/$set/annotations" "$out/$set/Annotations"
	for part in train val test; do mkdir -p "$out/$set/ImageSets/Main"; cp "$from/$set/$part.txt" "$out/$set/ImageSets/Main/"; done
done
# pairs SET LIST PART IMAGES MAPS: images and maps of a part in folders of its own
pairs() {
	while read -r id; do
		image=$(ls "$from/$1/$4/$id".* | head -n 1)
		link "$image" "$out/$1/images/$3/$(basename "$image")"
		link "$from/$1/$5/$id.png" "$out/$1/$5/$3/$id.png"
	done <"$from/$1/$2.txt"
}
for set in nyu_seg ccp_clothes; do
	mkdir -p "$out/$set"
	cp "$from/$set/classes.txt" "$out/$set/"
done
pairs nyu_seg train_half train images masks
pairs nyu_seg val val images masks
pairs nyu_depth train_half train rgb depth
pairs nyu_depth val val rgb depth
for part in train val test; do
	pairs ccp_clothes $part $part images masks
	pairs rgbd_rooms $part $part rgb depth
done
for set in pool_photos pool_tiny64; do link "$from/$set/images" "$out/$set"; done
