package imagefile

// Size returns width and height in the content of an image file, as they are stored: before its EXIF
// orientation. It decodes no pixels, and refuses what Decode would refuse by its format or size.
func Size(content []byte) (w, h int, err error) {
	_, config, err := sniff(content)
	return config.Width, config.Height, err
}
