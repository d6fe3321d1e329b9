package main

import (
	"bytes"
	"fmt"
	"strings"

	"must/machine"
	"must/scripts/generated"
	"must/torch"
)

// order is how parts are shown.
var order = []string{
	"backbone", "FPN", "RPN", "proposals", "RoIAlign", "box head", "mask head", "pixel heads", "RPN targets", "losses", "backward", "optimizer",
}

func (c comparison) medians(value func(turn) float64) (ours, peer float64) {
	of := func(p *program) float64 {
		var v []float64
		for _, t := range p.took {
			v = append(v, value(t))
		}
		return median(v)
	}
	return of(c.ours), of(c.peer)
}

// text is the comparison as Markdown.
func (c comparison) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "### %s\n\n| | must | PyTorch | PyTorch / must |\n|---|---|---|---|\n", upper(c.job.String()))
	row := func(name, format string, ours, peer float64) {
		ratio := ""
		if ours > 0 && peer > 0 {
			ratio = fmt.Sprintf("%.2f", peer/ours)
		}
		fmt.Fprintf(&b, "| %s | "+format+" | "+format+" | %s |\n", name, ours, peer, ratio)
	}
	images := func(t turn) float64 {
		if t.Images > 0 {
			return float64(t.Images)
		}
		return float64(c.Batch)
	}
	ours, peer := c.medians(func(t turn) float64 { return t.Seconds / images(t) })
	fmt.Fprintf(&b, "| **images a second** | %.3g | %.3g | **must is %.2f× as fast** |\n", 1/ours, 1/peer, peer/ours)
	ours, peer = c.medians(func(t turn) float64 { return 1000 * t.CPU / images(t) })
	row("processor time, ms an image", "%.0f", ours, peer)
	row("peak memory, MB", "%.0f", c.ours.last.PeakMB, c.peer.last.PeakMB)
	if c.Device == "cuda" {
		row("peak device memory, MB", "%.0f", c.ours.last.DeviceMB, c.peer.last.DeviceMB)
	}
	row("million parameters", "%.1f", c.ours.last.Params, c.peer.last.Params)
	if c.Kind == "label" {
		ours, peer = c.medians(func(t turn) float64 { return t.Boxes })
		row("boxes an image", "%.1f", ours, peer)
		return b.String()
	}
	ours, peer = c.medians(func(t turn) float64 { return t.BoxRoIs })
	row("RoIs an image, box head", "%.0f", ours, peer)
	ours, peer = c.medians(func(t turn) float64 { return t.Masks })
	row("RoIs an image, mask head", "%.0f", ours, peer)
	fmt.Fprintf(&b, "\n| part of one step, ms | must | PyTorch | PyTorch / must |\n|---|---|---|---|\n")
	for _, part := range order {
		row(part, "%.1f", 1000*c.ours.part[part], 1000*c.peer.part[part])
	}
	fmt.Fprintf(&b, "\nLosses after the same number of steps: must %s; PyTorch %s.\n", losses(c.ours), losses(c.peer))
	return b.String()
}

func upper(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

func losses(p *program) string {
	var parts []string
	last := p.took[len(p.took)-1].Losses
	for _, name := range []string{
		"classification", "cls", "segmentation", "seg", "depth", "detection.rpn_objectness", "loss_objectness", "detection.rpn_box", "loss_rpn_box_reg",
		"detection.box_class", "loss_classifier", "detection.box", "loss_box_reg", "detection.mask", "loss_mask",
	} {
		if v, ok := last[name]; ok {
			parts = append(parts, fmt.Sprintf("%s %.3g", strings.TrimPrefix(strings.TrimPrefix(name, "detection."), "loss_"), v))
		}
	}
	return strings.Join(parts, ", ")
}

// page replaces the tables of a device in a page.
func page(path, device, revision string, all []comparison) error {
	if path == "" || len(all) == 0 {
		return nil
	}
	begin, end := fmt.Sprintf("<!-- %s: make bench-peers -->\n", device), fmt.Sprintf("<!-- end of %s -->\n", device)
	var b bytes.Buffer
	m := machine.Probe()
	i, err := torch.Describe()
	if err != nil {
		return err
	}
	fmt.Fprintf(&b, "\n%s, %d cores, %.0f GB, %s", m.CPU, m.Cores, float64(m.Memory)/1e9, m.Vector)
	for _, g := range m.GPUs {
		fmt.Fprintf(&b, ", %s", g.Name)
	}
	last := all[len(all)-1].peer.last
	fmt.Fprintf(&b, "; %d threads each; must %s on libtorch %s, PyTorch %s with torchvision %s.\n\n", all[0].Threads, revision, i.Library.Version, last.Version, last.Vision)
	for _, c := range all {
		b.WriteString(c.text() + "\n")
	}
	return generated.Replace(path, begin, end, b.Bytes())
}
