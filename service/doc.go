// Package service turns an authenticated call into an answer. It holds the one
// pipeline that every operation passes (Do), the type of the rows that describe
// operations, and the work that only the leader does. The operations themselves
// are in its sub-packages, each of which exports its Rows.
//
// It promises that a call is decided from one View of replicated state, that no
// answer leaves before what it rests on is what every node serves, and that no
// answer leaves without its audit record.
//
// Everything in a Call but the principal was chosen by a client. A handler sees
// it only after decoding, the model's constraints, key resolution, authorisation
// and the key's state were checked, in that order.
package service
