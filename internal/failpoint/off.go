//go:build !failpoint

package failpoint

// On tells whether the build has failpoints.
const On = false

// A Point is a moment at which the process can be made to end.
type Point struct{}

// New declares a point. It is called once for each name, while the package that has the
// point is initialised.
func New(string) Point { return Point{} }

// Hit says that the point is reached, for what detail names.
func (Point) Hit(string) {}

// HitFile is Hit for the file or directory at a path. The detail is the last element,
// without the identifiers in it.
func (Point) HitFile(string) {}

// Setting tells whether the environment asks for a setting that suits tests.
func Setting(string) bool { return false }

// Start does at the start of the program what the environment says.
func Start() {}
