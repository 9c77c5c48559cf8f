// Package failpoint lets a test end the process at chosen moments, as a loss of power
// does: after each step by which something becomes durable, and between the steps of
// what several nodes do together.
//
// All of it is behind the build tag "failpoint". In other builds a Point is empty and
// Hit has no body, so that nothing of the package gets into the program; a test holds
// that. A program that was built with the tag is for tests alone: whoever sets its
// environment can end it.
//
// The environment variable KMSD_FAILPOINT says what a program with the tag does:
//
//	list                        prints the names of all points and ends
//	trace:FILE                  appends a line for each hit: point, detail and number
//	kill:POINT;DETAIL;NUMBER    ends the process at that hit
//
// The number counts the hits with the same point and detail. With KMSD_FAILPOINT_ARM the
// hits count only from when the file of that name is there. KMSD_FAILPOINT_SETTINGS lists
// settings that make some moments come soon, separated by commas:
//
//	snapshots    Raft makes a snapshot every few entries and keeps few entries behind it
//	hasty        Raft's timeouts are short: for clusters with one voting member
package failpoint
