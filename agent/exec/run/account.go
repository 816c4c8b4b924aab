package run

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
)

// account is the user that a task runs as.
type account struct {
	name, home string
	uid, gid   uint32
	groups     []uint32
	switched   bool // it is not the agent's own user.
}

// account resolves a run-as name. Errors are for an operator's screen.
func (r *Runner) account(name string) (account, error) {
	own := ownAccount()
	if name == "" || name == own.name {
		return own, nil
	}
	if !r.listed(name) {
		return account{}, fmt.Errorf("this node does not allow jobs to run as %q", name)
	}
	if own.uid != 0 {
		return account{}, fmt.Errorf("the job wants to run as %q, but the agent runs as %q and only root may switch users", name, own.name)
	}
	u, err := user.Lookup(name)
	if err != nil {
		return account{}, fmt.Errorf("the user %q does not exist on this node", name)
	}
	a := account{name: name, home: u.HomeDir, switched: true}
	if a.uid, err = parseID(u.Uid); err != nil {
		return account{}, fmt.Errorf("look up user %q: %w", name, err)
	}
	if a.gid, err = parseID(u.Gid); err != nil {
		return account{}, fmt.Errorf("look up user %q: %w", name, err)
	}
	ids, err := u.GroupIds()
	if err != nil {
		return account{}, fmt.Errorf("look up the groups of user %q: %w", name, err)
	}
	for _, id := range ids {
		g, err := parseID(id)
		if err != nil {
			return account{}, fmt.Errorf("look up the groups of user %q: %w", name, err)
		}
		a.groups = append(a.groups, g)
	}
	return a, nil
}

// ownAccount is the agent's own user. One that has no name is called by its
// number.
func ownAccount() account {
	uid := os.Getuid()
	a := account{name: strconv.Itoa(uid), home: "/", uid: uint32(uid), gid: uint32(os.Getgid())}
	if u, err := user.LookupId(a.name); err == nil {
		a.name, a.home = u.Username, u.HomeDir
	}
	return a
}

func parseID(s string) (uint32, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("parse id %q: %w", s, err)
	}
	return uint32(n), nil
}

// own gives a path to the account, if it is another than ours.
func (a account) own(path string) error {
	if !a.switched {
		return nil
	}
	if err := os.Chown(path, int(a.uid), int(a.gid)); err != nil {
		return fmt.Errorf("give %s to %s: %w", path, a.name, err)
	}
	return nil
}

// barred returns the first directory on the way to dir that the account may
// not enter, empty when there is none.
func (a account) barred(dir string) string {
	if !a.switched || a.uid == 0 {
		return ""
	}
	bad := ""
	for d := dir; ; d = filepath.Dir(d) {
		if info, err := os.Stat(d); err == nil && !a.enters(info) {
			bad = d
		}
		if d == filepath.Dir(d) {
			return bad
		}
	}
}

func (a account) enters(info os.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return true
	}
	switch {
	case st.Uid == a.uid:
		return info.Mode()&0o100 != 0
	case st.Gid == a.gid || slices.Contains(a.groups, st.Gid):
		return info.Mode()&0o010 != 0
	default:
		return info.Mode()&0o001 != 0
	}
}
