package data

import "errors"

// ErrNoPart is what an error is, by errors.Is, where a set is sound but has no part of the name asked for.
// What a part is optional for, such as scores on val, is then left out; any other error is one.
var ErrNoPart = errors.New("no such part")

// NoPart makes an error an ErrNoPart; its text stays.
func NoPart(err error) error { return noPart{err} }

type noPart struct{ error }

func (n noPart) Unwrap() error      { return n.error }
func (noPart) Is(target error) bool { return target == ErrNoPart }
