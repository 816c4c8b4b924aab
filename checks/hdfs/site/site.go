package site

import (
	"cmp"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"alps/mesh"
)

// Where the configuration is when nobody says so.
const (
	EnvDir     = "HADOOP_CONF_DIR"
	DefaultDir = "/etc/hadoop/conf"
)

// hint is what to type when the directory is not the right one.
const hint = "set HADOOP_CONF_DIR, or conf=DIR, to the directory that has hdfs-site.xml"

// Limits of a file. The longest that are in use have some hundred properties.
const (
	maxFile  = 4 << 20
	maxValue = 64 << 10
	maxDepth = 20 // substitutions in one value; Hadoop has the same.
)

// Site is what the files of one directory say. It is immutable and may be used
// from any goroutine.
type Site struct {
	Dir    string
	values map[string]string
}

// Dir returns the directory that conf means: conf itself, or what the
// environment says, or where packages of Hadoop put it.
func Dir(conf string) string { return cmp.Or(conf, os.Getenv(EnvDir), DefaultDir) }

// Load reads core-site.xml and hdfs-site.xml of Dir(conf). The first may be
// missing. What the second says replaces what the first says.
func Load(conf string) (*Site, error) {
	s := &Site{Dir: Dir(conf), values: make(map[string]string)}
	for _, name := range []string{"core-site.xml", "hdfs-site.xml"} {
		file := filepath.Join(s.Dir, name)
		err := s.load(file)
		switch {
		case errors.Is(err, fs.ErrNotExist) && name == "core-site.xml":
		case errors.Is(err, fs.ErrNotExist):
			return nil, mesh.Errorf(mesh.NotFound, "read the configuration of Hadoop: there is no %s", file).WithHint(hint)
		case err != nil:
			return nil, mesh.Errorf(mesh.Invalid, "read the configuration of Hadoop: %s: %w", file, err).WithHint(hint)
		}
	}
	return s, nil
}

func (s *Site) load(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return err
	}
	if len(b) > maxFile {
		return fmt.Errorf("it is larger than %d MiB", maxFile>>20)
	}
	return parse(string(b), s.values)
}

// property is written as elements or, more rarely, as attributes.
type property struct {
	NameAttr  string  `xml:"name,attr"`
	ValueAttr *string `xml:"value,attr"`
	Name      string  `xml:"name"`
	Value     *string `xml:"value"`
}

// parse adds the properties of one file to values.
func parse(text string, values map[string]string) error {
	d := xml.NewDecoder(strings.NewReader(text))
	rooted := false
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			if !rooted {
				return errors.New("it has no <configuration>")
			}
			return nil
		}
		if err != nil {
			return err
		}
		start, ok := tok.(xml.StartElement)
		switch {
		case !ok:
		case !rooted && start.Name.Local != "configuration":
			return fmt.Errorf("it begins with <%s>, not with <configuration>", start.Name.Local)
		case start.Name.Local == "configuration":
			rooted = true
		case start.Name.Local == "include":
			return errors.New("it includes another file, which is not read: write the properties into it")
		case start.Name.Local == "property":
			var p property
			if err := d.DecodeElement(&p, &start); err != nil {
				return err
			}
			p.into(values)
		default:
			if err := d.Skip(); err != nil {
				return err
			}
		}
	}
}

// into keeps a property that has a name and a value.
func (p property) into(values map[string]string) {
	name := strings.TrimSpace(cmp.Or(p.Name, p.NameAttr))
	value := p.Value
	if value == nil {
		value = p.ValueAttr
	}
	if name != "" && value != nil {
		values[name] = strings.TrimSpace(*value)
	}
}

// Get returns a property with the ${names} of others in it replaced, "" when
// there is none. A name that stands for no property stays as it is.
func (s *Site) Get(key string) string {
	v := s.values[key]
	for range maxDepth {
		next, changed := s.expand(v)
		if !changed || len(next) > maxValue {
			return v
		}
		v = next
	}
	return v
}

// expand replaces each ${name} of v once.
func (s *Site) expand(v string) (string, bool) {
	var b strings.Builder
	changed := false
	for {
		before, rest, ok := strings.Cut(v, "${")
		b.WriteString(before)
		if !ok {
			return b.String(), changed
		}
		name, after, ok := strings.Cut(rest, "}")
		value, known := s.values[name]
		switch {
		case !ok:
			b.WriteString("${" + rest)
			return b.String(), changed
		case known:
			b.WriteString(value)
			changed = true
		default:
			b.WriteString("${" + name + "}")
		}
		if b.Len() > maxValue { // it grows without an end.
			return v, false
		}
		v = after
	}
}

// list is a property whose words have commas between them.
func (s *Site) list(key string) []string {
	var out []string
	for w := range strings.SplitSeq(s.Get(key), ",") {
		if w = strings.TrimSpace(w); w != "" {
			out = append(out, w)
		}
	}
	return out
}

// Int returns a property that is a whole number, or standard when no file has it.
func (s *Site) Int(key string, standard int) (int, error) {
	v := s.Get(key)
	if v == "" {
		return standard, nil
	}
	n, err := strconv.Atoi(v)
	if err != nil {
		return 0, s.badf(key, "want a whole number, got %q", v)
	}
	return n, nil
}

// badf is what is said of a property that makes no sense.
func (s *Site) badf(key, format string, args ...any) error {
	return mesh.Errorf(mesh.Invalid, "%s of %s: %s", key, s.Dir, fmt.Sprintf(format, args...)).
		WithHint("correct it in %s", filepath.Join(s.Dir, "hdfs-site.xml"))
}
