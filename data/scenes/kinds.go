package scenes

// A kind is what something in the world is. The label spaces of the sets are lists of kinds.
type kind uint8

const (
	sky kind = iota
	wall
	floor
	ceiling
	grass
	sand
	water
	door
	window
	picture
	rug

	ball // the solids of the source sets
	box
	cylinder
	cone
	ring
	pyramid
	capsule
	wedge
	cross
	tube

	star // the solids of the fine-grained set
	bowl
	hourglass
	arch
	diamond

	mushroom // the things of the downstream sets
	house
	snowman
	mug
	car
	tree
	bottle
	chair
	dumbbell
	lamp
	robot
	rocket

	table // furniture
	sofa
	cabinet

	background // what no other kind is; only a label

	kinds // how many
)

var kindNames = [kinds]string{
	sky: "sky", wall: "wall", floor: "floor", ceiling: "ceiling", grass: "grass", sand: "sand", water: "water",
	door: "door", window: "window", picture: "picture", rug: "rug",
	ball: "ball", box: "box", cylinder: "cylinder", cone: "cone", ring: "ring", pyramid: "pyramid",
	capsule: "capsule", wedge: "wedge", cross: "cross", tube: "tube",
	star: "star", bowl: "bowl", hourglass: "hourglass", arch: "arch", diamond: "diamond",
	mushroom: "mushroom", house: "house", snowman: "snowman", mug: "mug", car: "car", tree: "tree",
	bottle: "bottle", chair: "chair", dumbbell: "dumbbell", lamp: "lamp", robot: "robot", rocket: "rocket",
	table: "table", sofa: "sofa", cabinet: "cabinet", background: "background",
}

// makers builds a solid of each kind that is one, in random proportions.
var makers = [kinds]func(rng) *solid{
	ball: makeBall, box: makeBox, cylinder: makeCylinder, cone: makeCone, ring: makeRing, pyramid: makePyramid,
	capsule: makeCapsule, wedge: makeWedge, cross: makeCross, tube: makeTube,
	star: makeStar, bowl: makeBowl, hourglass: makeHourglass, arch: makeArch, diamond: makeDiamond,
	mushroom: makeMushroom, house: makeHouse, snowman: makeSnowman, mug: makeMug, car: makeCar, tree: makeTree,
	bottle: makeBottle, chair: makeChair, dumbbell: makeDumbbell, lamp: makeLamp, robot: makeRobot, rocket: makeRocket,
	table: makeTable, sofa: makeSofa, cabinet: makeCabinet,
}

func names(ks []kind) []string {
	var out []string
	for _, k := range ks {
		out = append(out, kindNames[k])
	}
	return out
}
