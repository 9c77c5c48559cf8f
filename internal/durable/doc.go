// Package durable holds the few file operations whose effect must survive a
// crash of the process, of the kernel or of the power: replacing and creating
// files, making and renaming directories, and the lock that keeps a second
// process out of a data directory.
//
// Every function returns nil only after the data and the directory entry that
// leads to it were handed to the disk with fsync. After an error, or a crash in
// the middle, a path holds either its old content or its new content, entirely;
// at most a temporary file is left over, which RemoveTemporary deletes. An fsync
// that failed is never tried again on the same file: the kernel may have dropped
// the pages and would report success.
//
// Files are made with mode 0600, directories with 0700. The package trusts the
// directories that it is given: whoever can write in them can replace what is in
// them. ReadPrivate refuses files that other users could have read or written.
package durable

// The permissions of everything that the package makes.
const (
	FileMode = 0o600
	DirMode  = 0o700
)
