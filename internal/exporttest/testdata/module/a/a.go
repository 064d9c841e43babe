package a

type T struct{}

func (T) Used()        {}
func (T) Unused()      {}
func (T) Close() error { return nil } // an io.Closer
func (T) unexported()  {}

func Used() T { return T{} }

func Unused() { Used().unexported() }
