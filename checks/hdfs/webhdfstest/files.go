// Package webhdfstest is a DataNode and a NameNode that take small files by
// HTTP, and a suite that holds them and real ones to the same.
//
//	files := webhdfstest.New("nn1:8020")
//	http.HandleFunc("/webhdfs/", files.DataNode)
//
// Only tests import it.
package webhdfstest

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// Owner may write; nobody else may.
const Owner = "root"

// Files is what a DataNode and its NameNodes know of HDFS. Its methods may be
// called from any goroutine.
type Files struct {
	active string // host:port of the RPC of the active NameNode.

	mu     sync.Mutex
	files  map[string]File
	broken bool
	wrote  func()
}

// File is one that was written.
type File struct {
	Copies string
	Text   string
}

// New makes an HDFS without files, whose active NameNode takes calls there.
func New(active string) *Files { return &Files{active: active, files: make(map[string]File)} }

// Break has every write fail as a disk fails it.
func (f *Files) Break() { f.set(func() { f.broken = true }) }

// OnWrite has do called after each write.
func (f *Files) OnWrite(do func()) { f.set(func() { f.wrote = do }) }

func (f *Files) set(do func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	do()
}

// All are the files by their paths.
func (f *Files) All() map[string]File {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.files)
}

// Below lists the files in a directory.
func (f *Files) Below(dir string) []string {
	var out []string
	for name := range f.All() {
		if strings.HasPrefix(name, dir+"/") {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// userName is what Hadoop takes for the name of a user.
var userName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9._-]*[$]?$`)

// DataNode answers for a DataNode.
func (f *Files) DataNode(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Connection", "close")
	q := r.URL.Query()
	name, ok := strings.CutPrefix(r.URL.Path, "/webhdfs/v1")
	text, err := io.ReadAll(r.Body)
	switch {
	case err != nil || !ok:
		http.NotFound(w, r)
	case r.Method != http.MethodPut || !strings.EqualFold(q.Get("op"), "CREATE"):
		refuse(w, http.StatusBadRequest, "IllegalArgumentException", "Invalid operation "+q.Get("op"))
	case !userName.MatchString(q.Get("user.name")):
		refuse(w, http.StatusBadRequest, "IllegalArgumentException", `Invalid value: "`+q.Get("user.name")+`" does not belong to the domain ^[A-Za-z_][A-Za-z0-9._-]*[$]?$`)
	case q.Get("replication") < "1":
		refuse(w, http.StatusBadRequest, "IllegalArgumentException", "Invalid parameter range: replication = "+q.Get("replication")+" < 1")
	case q.Get("namenoderpcaddress") != f.active:
		refuse(w, http.StatusForbidden, "StandbyException", "Operation category WRITE is not supported in state standby.")
	case q.Get("user.name") != Owner:
		refuse(w, http.StatusForbidden, "AccessControlException", "Permission denied: user="+q.Get("user.name")+", access=WRITE, inode=\"/\":root:supergroup:drwxr-xr-x"+stack)
	default:
		f.create(w, name, File{Copies: q.Get("replication"), Text: string(text)})
	}
}

func (f *Files) create(w http.ResponseWriter, name string, file File) {
	f.mu.Lock()
	_, there := f.files[name]
	_, below := f.files[path.Dir(name)]
	broken, wrote := f.broken, f.wrote
	if !there && !below {
		f.files[name] = file // one that no disk takes is there, and empty.
	}
	f.mu.Unlock()
	switch {
	case there:
		refuse(w, http.StatusForbidden, "FileAlreadyExistsException", name+" for client 127.0.0.1 already exists"+stack)
	case below:
		refuse(w, http.StatusForbidden, "ParentNotDirectoryException", path.Dir(name)+" (is not a directory)"+stack)
	case broken:
		refuse(w, http.StatusForbidden, "IOException", "File "+name+" could only be written to 0 of the 1 minReplication nodes. There are 1 datanode(s) running and 1 node(s) are excluded in this operation."+stack)
	default:
		w.Header().Set("Location", "hdfs://"+f.active+name)
		w.WriteHeader(http.StatusCreated)
	}
	if wrote != nil && !there && !below {
		wrote()
	}
}

// NameNode answers for the active NameNode.
func (f *Files) NameNode(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	name, ok := strings.CutPrefix(r.URL.Path, "/webhdfs/v1")
	switch {
	case !ok || r.Method != http.MethodDelete || !strings.EqualFold(q.Get("op"), "DELETE"):
		http.NotFound(w, r)
	case q.Get("user.name") != Owner:
		refuse(w, http.StatusForbidden, "AccessControlException", "Permission denied: user="+q.Get("user.name")+", access=WRITE, inode=\"/\":root:supergroup:drwxr-xr-x")
	default:
		gone := false
		f.set(func() {
			for have := range f.files {
				if have == name || strings.HasPrefix(have, name+"/") {
					delete(f.files, have)
					gone = true
				}
			}
		})
		answer(w, http.StatusOK, map[string]any{"boolean": gone})
	}
}

// Standby answers for the other NameNode.
func Standby(w http.ResponseWriter, _ *http.Request) {
	refuse(w, http.StatusForbidden, "StandbyException", "Operation category WRITE is not supported in state standby. Visit https://s.apache.org/sbnn-error")
}

// stack is how a NameNode ends what it says through a DataNode.
const stack = "\n\tat org.apache.hadoop.hdfs.server.namenode.FSNamesystem.startFile(FSNamesystem.java:2713)\n"

func refuse(w http.ResponseWriter, status int, exception, message string) {
	answer(w, status, map[string]any{"RemoteException": map[string]any{
		"exception": exception, "javaClassName": "org.apache.hadoop." + exception, "message": message,
	}})
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // who asks may be gone.
}
