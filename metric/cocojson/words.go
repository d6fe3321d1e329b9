package cocojson

import "strings"

// A worded error says what is wrong with an item in a user's words where the decoder says it in its own.
type worded struct{ error }

func (w worded) Unwrap() error { return w.error }

func (w worded) Error() string {
	s := strings.ReplaceAll(w.error.Error(), "callback: ", "")
	for _, c := range []struct{ decoder, user string }{
		{"unexpected byte 78 'N'", "NaN, which is no number: write null, or leave the field out"},
		{"unexpected byte 73 'I'", "Infinity, which is no number"},
		{"unexpected byte 34 '\"'", "a text, not a number: write it without quotes"},
		{"unexpected byte 91 '['", "a list, not a number"},
		{"float as int", "a fraction, not a whole number"},
	} {
		if head, _, ok := strings.Cut(s, c.decoder); ok {
			return head + c.user
		}
	}
	return s
}
