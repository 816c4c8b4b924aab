package loop_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"alps/cmd/alps/internal/dev"
	"alps/cmd/alps/internal/loop"
	"alps/mesh"
	"alps/mesh/consul"
	"alps/mesh/consul/cluster"
	v1 "alps/server/api/v1"
)

// fewNodes is two nodes of each of two roles.
func fewNodes() []cluster.Datacenter {
	return []cluster.Datacenter{{Name: deckDC, Nodes: []cluster.NodeSpec{
		{Name: loop.ServerNode, Server: true}, {Name: loop.Observer}, {Name: loop.WebOne}, {Name: loop.WebTwo},
	}}}
}

// TestConfig is the configuration of nodes in Consul's KV, from the key that
// somebody writes to the check that goes by it, and what the API refuses.
func TestConfig(t *testing.T) {
	r := loop.Start(t, loop.Options{Web: []string{}, Dev: dev.Options{Datacenters: fewNodes(), Packs: []string{"host"}}})
	kv, err := consul.New(consul.Options{Address: r.Consul().Node(loop.ServerNode).HTTPAddr()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(kv.Close)
	t.Run("the nearest wins", func(t *testing.T) { testNearest(t, r, kv) })
	t.Run("a threshold", func(t *testing.T) { testThreshold(t, r, kv) })
	t.Run("conflicts", func(t *testing.T) { testConflicts(t, r) })
	t.Run("protected keys", func(t *testing.T) { testProtected(t, r, kv) })
	t.Run("the largest value", func(t *testing.T) { testLargest(t, r, kv) })
	t.Run("names of keys", func(t *testing.T) { testKeyNames(t, r) })
	t.Run("keys that are no settings", func(t *testing.T) { testNoSettings(t, r, kv) })
}

// output is what one run of the program has left behind.
type output struct {
	stdout, stderr string
	code           int
}

// cli runs the program as an admin.
func cli(t *testing.T, r *loop.Rig, args ...string) output {
	t.Helper()
	token, err := r.Token()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), loop.Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, loop.Program(t), args...)
	cmd.Env = append(os.Environ(), "ALPS_ADDR="+r.Address(), "ALPS_TOKEN="+token, "ALPS_CACERT="+r.CACert())
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		t.Fatal(err)
	}
	return output{out.String(), errs.String(), cmd.ProcessState.ExitCode()}
}

// setting is one value of a node's configuration by the server.
func setting(ctx context.Context, r *loop.Rig, node, name string) (mesh.Setting, v1.SettingList, error) {
	list, err := r.Client().NodeConfig(ctx, node)
	if err != nil {
		return mesh.Setting{}, list, err
	}
	for _, s := range list.Settings {
		if s.Name == name {
			return s, list, nil
		}
	}
	return mesh.Setting{}, list, nil
}

// awaitSetting waits until a node has a setting of a key, its agent has said
// so, and it lies on the agent's disk. Without From there must be none.
func awaitSetting(t *testing.T, r *loop.Rig, node string, want mesh.Setting) mesh.Setting {
	t.Helper()
	var got mesh.Setting
	name := want.Name
	loop.Await(t, fmt.Sprintf("%s of %s is %q of %q", name, node, want.Value, want.From), func(ctx context.Context) error {
		var list v1.SettingList
		var err error
		got, list, err = setting(ctx, r, node, name)
		switch {
		case err != nil:
			return err
		case got.Value != want.Value || got.From != want.From:
			return fmt.Errorf("it is %q of %q", got.Value, got.From)
		case list.Delivered.IsZero():
			return errors.New("the agent has not taken it over")
		}
		b, err := os.ReadFile(filepath.Join(r.Agent(node).Dir(), "settings.json"))
		if err != nil {
			return err
		}
		if has := strings.Contains(string(b), fmt.Sprintf("%q", name)); has != (want.From != "") {
			return fmt.Errorf("on the agent's disk is %s", b)
		}
		return nil
	})
	return got
}

func put(t *testing.T, kv *consul.Client, key, value string) {
	t.Helper()
	if err := kv.Put(t.Context(), key, []byte(value)); err != nil {
		t.Fatal(err)
	}
}

func drop(t *testing.T, kv *consul.Client, key string) {
	t.Helper()
	if err := kv.Delete(t.Context(), key); err != nil {
		t.Fatal(err)
	}
}

func testNearest(t *testing.T, r *loop.Rig, kv *consul.Client) {
	const name = "app/color"
	keys := []string{"global", "dc/" + deckDC, "role/hadoop", "node/" + loop.WebOne}
	for i, l := range keys {
		keys[i] = "alps/config/" + l + "/" + name
	}
	// One through the API, the others behind its back.
	if _, err := r.Client().PutKey(t.Context(), "", keys[0], v1.KVWrite{Value: []byte("v0"), Reason: "a test"}); err != nil {
		t.Fatal(err)
	}
	awaitSetting(t, r, loop.WebOne, mesh.Setting{Name: name, Value: "v0", From: keys[0]})
	for i, key := range keys[1:] {
		put(t, kv, key, fmt.Sprint("v", i+1))
		got := awaitSetting(t, r, loop.WebOne, mesh.Setting{Name: name, Value: fmt.Sprint("v", i+1), From: key})
		over := slices.Clone(keys[:i+1])
		slices.Reverse(over)
		if !slices.Equal(got.Over, over) {
			t.Errorf("%s comes before %v, want %v", key, got.Over, over)
		}
	}
	awaitSetting(t, r, loop.WebTwo, mesh.Setting{Name: name, Value: "v2", From: keys[2]})
	awaitSetting(t, r, loop.ServerNode, mesh.Setting{Name: name, Value: "v1", From: keys[1]})

	for node, want := range map[string]string{
		loop.WebOne: "NAME       VALUE  FROM\napp/color  v3     " + keys[3] + "\n",
		loop.WebTwo: "NAME       VALUE  FROM\napp/color  v2     " + keys[2] + "\n",
	} {
		if got := cli(t, r, "node", "config", node); got.stdout != want || got.code != 0 || got.stderr != "" {
			t.Errorf("node config %s prints %+v, want %s", node, got, want)
		}
	}
	for i, key := range slices.Backward(keys) {
		drop(t, kv, key)
		if i > 0 {
			awaitSetting(t, r, loop.WebOne, mesh.Setting{Name: name, Value: fmt.Sprint("v", i-1), From: keys[i-1]})
		}
	}
	awaitSetting(t, r, loop.WebOne, mesh.Setting{Name: name})
}

// testThreshold moves one threshold of one node, there and back, and once to
// what makes no sense.
func testThreshold(t *testing.T, r *loop.Rig, kv *consul.Client) {
	const check = "host-processes"
	const name = "check/" + check + "/warn"
	const key = "alps/config/node/" + loop.WebOne + "/" + name
	runNow := func() {
		t.Helper()
		loop.Await(t, "the nodes run "+check, func(ctx context.Context) error {
			a, err := r.Client().RunCheck(ctx, v1.RunCheckRequest{Check: check})
			if err == nil && len(a.Asked) != len(r.Agents()) {
				err = fmt.Errorf("asked are %v, missed %v", a.Asked, a.Missed)
			}
			return err
		})
	}
	others := func() {
		t.Helper()
		for _, node := range []string{loop.WebTwo, loop.ServerNode, loop.Observer} {
			r.AwaitCheck(t, node, check, mesh.HealthPassing)
		}
	}
	runNow()
	r.AwaitCheck(t, loop.WebOne, check, mesh.HealthPassing)
	others()

	put(t, kv, key, "0%")
	awaitSetting(t, r, loop.WebOne, mesh.Setting{Name: name, Value: "0%", From: key})
	runNow()
	bad := r.AwaitCheck(t, loop.WebOne, check, mesh.HealthWarning)
	if !strings.HasPrefix(bad.Result.Output, "more than 0% of the ") {
		t.Errorf("the check says %q", bad.Result.Output)
	}
	others()

	put(t, kv, key, "banana")
	awaitSetting(t, r, loop.WebOne, mesh.Setting{Name: name, Value: "banana", From: key})
	runNow()
	lost := r.AwaitCheck(t, loop.WebOne, check, mesh.HealthUnknown)
	if !strings.Contains(lost.Result.Output, "warn") || !strings.Contains(lost.Result.Output, "banana") {
		t.Errorf("the check does not say what is wrong: %q", lost.Result.Output)
	}
	others()

	drop(t, kv, key)
	awaitSetting(t, r, loop.WebOne, mesh.Setting{Name: name})
	runNow()
	r.AwaitCheck(t, loop.WebOne, check, mesh.HealthPassing)
}

// refusal fails unless err has a code, and these words in its message or hint.
func refusal(t *testing.T, err error, code mesh.Code, words ...string) {
	t.Helper()
	e, ok := errors.AsType[*mesh.Error](err)
	if !ok || e.Code != code {
		t.Errorf("the error is %v with code %q, want %q", err, mesh.CodeOf(err), code)
		return
	}
	for _, w := range words {
		if !strings.Contains(e.Message+"\n"+e.Hint, w) {
			t.Errorf("the error %q with the hint %q does not say %q", e.Message, e.Hint, w)
		}
	}
}

func testConflicts(t *testing.T, r *loop.Rig) {
	ctx, c := t.Context(), r.Client()
	const key = "team/conflict"
	first, err := c.PutKey(ctx, "", key, v1.KVWrite{Value: []byte("mine")})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.PutKey(ctx, "", key, v1.KVWrite{Value: []byte("another's")})
	refusal(t, err, mesh.Conflict, "there is a key", "both values")
	next, err := c.PutKey(ctx, "", key, v1.KVWrite{Value: []byte("next"), Index: first.Index})
	if err != nil || next.Index <= first.Index {
		t.Fatalf("the index is %d after %d, %v", next.Index, first.Index, err)
	}
	_, err = c.PutKey(ctx, "", key, v1.KVWrite{Value: []byte("late"), Index: first.Index})
	refusal(t, err, mesh.Conflict, "somebody else", "read it again")
	refusal(t, c.DeleteKey(ctx, "", key, first.Index), mesh.Conflict, "somebody else", "read it again")
	if got, err := c.Key(ctx, "", key); err != nil || string(got.Value) != "next" {
		t.Errorf("the value is %q, %v; want that of the second write", got.Value, err)
	}
	if err := c.DeleteKey(ctx, "", key, next.Index); err != nil {
		t.Error(err)
	}
	_, err = c.Key(ctx, "", key)
	refusal(t, err, mesh.NotFound, key)
}

// testProtected tries to write where ALPS keeps its own, in all spellings.
func testProtected(t *testing.T, r *loop.Rig, kv *consul.Client) {
	ctx, c := t.Context(), r.Client()
	own, _, err := kv.Keys(ctx, "alps/", consul.Query{})
	if err != nil || len(own) == 0 {
		t.Fatalf("ALPS keeps %d keys, %v", len(own), err)
	}
	if p, err := c.Key(ctx, "", own[0]); err != nil || !strings.Contains(p.Protected, "ALPS keeps alps/ itself") {
		t.Errorf("%s does not say that it is protected: %q, %v", own[0], p.Protected, err)
	}
	for _, key := range []string{"alps/exec/head/0", "alps/leader", "alps/cmdb/node/0/x/observed", "alps/x", "alps/configs", "alps/config"} {
		_, err := c.PutKey(ctx, "", key, v1.KVWrite{Value: []byte("x")})
		refusal(t, err, mesh.Denied, key, "ALPS keeps alps/ itself", "alps/config/")
		refusal(t, c.DeleteKey(ctx, "", key, 1), mesh.Denied, key, "ALPS keeps alps/ itself")
	}
	for _, key := range []string{"/alps/exec/x", "alps//exec/x", "alps/config/../exec/x", "./alps/exec/x", " alps/exec/x"} {
		_, err := c.PutKey(ctx, "", key, v1.KVWrite{Value: []byte("x")})
		refusal(t, err, mesh.Invalid)
		refusal(t, c.DeleteKey(ctx, "", key, 1), mesh.Invalid)
	}
	all, _, err := kv.List(ctx, "alps/", consul.Query{})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		if string(p.Value) == "x" {
			t.Errorf("%q was written", p.Key)
		}
	}
}

func testLargest(t *testing.T, r *loop.Rig, kv *consul.Client) {
	ctx, c := t.Context(), r.Client()
	const key = "team/large"
	value := bytes.Repeat([]byte{0xff, 0}, v1.MaxValue/2)
	p, err := c.PutKey(ctx, "", key, v1.KVWrite{Value: value})
	if err != nil {
		t.Fatal(err)
	}
	if got, _, err := kv.Get(ctx, key, consul.Query{}); err != nil || got == nil || !bytes.Equal(got.Value, value) {
		t.Errorf("Consul has something else: %v", err)
	}
	_, err = c.PutKey(ctx, "", key, v1.KVWrite{Value: append(value, 'x'), Index: p.Index})
	refusal(t, err, mesh.TooLarge, "524289", "524288")
	if got, err := c.Key(ctx, "", key); err != nil || !bytes.Equal(got.Value, value) || got.Index != p.Index {
		t.Errorf("the key has %d bytes of index %d, %v; want what was written", len(got.Value), got.Index, err)
	}
	if err := c.DeleteKey(ctx, "", key, p.Index); err != nil {
		t.Error(err)
	}
}

func testKeyNames(t *testing.T, r *loop.Rig) {
	ctx, c := t.Context(), r.Client()
	for _, key := range []string{
		"team/键", "team/a b", "team/100%", "team/a%2Fb", "team/q?x=1&dc=y#z", "team/a+b;c", `team/'"\`, "team/<script>", strings.Repeat("k", 1024),
	} {
		p, err := c.PutKey(ctx, "", key, v1.KVWrite{Value: []byte(key)})
		if err != nil {
			t.Errorf("put %q: %v", key, err)
			continue
		}
		if got, err := c.Key(ctx, "", key); err != nil || string(got.Value) != key || got.Key != key {
			t.Errorf("%q holds %q as %q, %v", key, got.Value, got.Key, err)
		}
		prefix := key[:strings.LastIndex(key, "/")+1]
		if list, err := c.Keys(ctx, "", prefix); err != nil || !slices.Contains(list.Keys, key) {
			t.Errorf("%q is not in the list of %q: %v, %v", key, prefix, list.Keys, err)
		}
		if err := c.DeleteKey(ctx, "", key, p.Index); err != nil {
			t.Errorf("delete %q: %v", key, err)
		}
	}
	for name, key := range map[string]string{
		"none": "", "a slash in front": "/team/x", "two slashes": "team//x", "a space in front": " team/x", "a space behind": "team/x ",
		"a way up": "team/../x", "here": "team/./x", "a line break": "team/x\ny", "a NUL": "team/\x00", "no text": "team/\xff",
		"too long": strings.Repeat("k", 1025),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := c.PutKey(t.Context(), "", key, v1.KVWrite{Value: []byte("x")})
			refusal(t, err, mesh.Invalid)
			refusal(t, c.DeleteKey(t.Context(), "", key, 1), mesh.Invalid)
		})
	}
}

// testNoSettings puts what is no setting where settings lie: it reaches nobody
// and keeps nothing from those that are.
func testNoSettings(t *testing.T, r *loop.Rig, kv *consul.Client) {
	const good = "alps/config/global/app/good"
	wrong := []string{
		"alps/config/", "alps/config/global/", "alps/config/everybody/app/x", "alps/config/node", "alps/config/role//app/x",
		"alps/config/global/app/two words", "alps/config/global/../up", "alps/config/node/" + loop.WebOne,
	}
	for i, key := range wrong {
		put(t, kv, key, fmt.Sprint("wrong", i))
	}
	put(t, kv, "alps/config/global/huge", strings.Repeat("x", v1.MaxValue))
	put(t, kv, good, "yes")
	awaitSetting(t, r, loop.WebOne, mesh.Setting{Name: "app/good", Value: "yes", From: good})
	list, err := r.Client().NodeConfig(t.Context(), loop.WebOne)
	if err != nil || len(list.Settings) != 1 {
		t.Errorf("%d settings, %v; want 1", len(list.Settings), err)
	}
	for _, key := range append(wrong, good, "alps/config/global/huge") {
		drop(t, kv, key)
	}
	awaitSetting(t, r, loop.WebOne, mesh.Setting{Name: "app/good"})
}
