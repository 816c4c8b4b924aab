package jmx

import (
	"context"
	"strconv"
	"strings"
)

// ErasureCoding is what the bean ECBlockGroupsState says of files that are not
// copied but coded.
type ErasureCoding struct {
	Groups int64 `json:"TotalECBlockGroups"`
	// Enabled are the policies that files may have, separated by commas, such as
	// "RS-6-3-1024k". Which of them files do have is said nowhere.
	Enabled string `json:"EnabledEcPolicies"`
}

// ErasureCoding reads how a NameNode codes. One from before Hadoop 3, which
// cannot, has no groups.
func (c *Client) ErasureCoding(ctx context.Context, addr string) (ErasureCoding, error) {
	e := ErasureCoding{Groups: -1} // what is left out is not zero.
	err := c.Bean(ctx, addr, prefix+"ECBlockGroupsState", &e)
	switch {
	case KindOf(err) == NoBean:
		return ErasureCoding{}, nil
	case err == nil && e.Groups < 0:
		err = &Error{Garbled, addr, "its ECBlockGroupsState does not count"}
	}
	return e, err
}

// Width is on how many DataNodes a group of the widest enabled policy lies, and
// that policy. A name that cannot be read is returned with a width of 0; no name
// at all as well.
func (e ErasureCoding) Width() (width int, policy string) {
	for name := range strings.SplitSeq(e.Enabled, ",") {
		if name = strings.TrimSpace(name); name == "" {
			continue
		}
		w := widthOf(name)
		if w == 0 {
			return 0, name
		}
		if w > width {
			width, policy = w, name
		}
	}
	return width, policy
}

// widthOf reads a name of the form CODEC-DATA-PARITY-CELL; 0 when it is none.
// The codec may have dashes of its own ("RS-LEGACY-6-3-1024k").
func widthOf(policy string) int {
	parts := strings.Split(policy, "-")
	if len(parts) < 4 {
		return 0
	}
	data, err := strconv.ParseUint(parts[len(parts)-3], 10, 8)
	parity, err2 := strconv.ParseUint(parts[len(parts)-2], 10, 8)
	if err != nil || err2 != nil || data == 0 {
		return 0
	}
	return int(data + parity)
}
