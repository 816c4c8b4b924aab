// Package agent is what an agent says of itself: its Status, the Unix socket
// that tells it, and Diagnose, which turns it into plain words for a person
// who asks `alps doctor` what is wrong.
//
//	alps agent ── Serve ──► agent.sock ◄── Ask ── alps doctor
//
// The parts of an agent are packages below this one and know nothing of each
// other or of this package; cmd/alps/internal/wire puts them together. It must
// not import anything of server.
package agent
