// Package httpapi speaks the protocols of the AWS endpoint and nothing else: it
// bounds connections and sizes, gives every request an id, finds the operation,
// proves the caller, hands the call to the service and renders the answer as
// awsJson 1.1 or as the query protocol's XML. It also serves /livez and /readyz,
// and kmsd's own admin API below /v1/, over the same listeners and over a unix
// socket, whose callers may leave out the signature where the service allows it.
//
// One request passes, in this order:
//
//	limits → body → request id → operation → signature's form → Session →
//	signature → service → answer
//
// The operation comes before the signature because the signature's errors are
// worded per protocol. Nothing of the body but a form's Action is looked at
// before the signature is proven. A refusal that read state waits for the
// Session's gate before it leaves; a node without fresh state answers 503.
//
// The request's context carries a deadline and is cancelled when the client goes
// away. It is passed on as it is: a write that was proposed goes on without its
// client, and detaching it is the service's business.
//
// Trust: every byte that arrives here is an attacker's until the signature is
// proven. Such an attacker can occupy a connection, up to 1 MiB of memory for
// each, for at most the time limits of Config, and can learn whether the node is
// ready and which operations exist. X-Forwarded-For and its kin are ignored. A
// PROXY header is believed only from the addresses of Config.ProxyCIDRs; whoever
// holds one of them can claim any client address, and so pass conditions on
// aws:SourceIp and mislead the audit trail, but sign nothing.
package httpapi
