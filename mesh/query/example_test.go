package query_test

import (
	"errors"
	"fmt"

	"alps/mesh/query"
)

func Example() {
	nodes := []record{
		{"name": {"bj-e-dn01"}, "role": {"datanode"}, "mem_gb": {"128"}},
		{"name": {"bj-e-dn02"}, "role": {"datanode"}, "mem_gb": {"128"}, "tag": {"canary"}},
		{"name": {"bj-e-dn03"}, "role": {"datanode"}, "mem_gb": {"32"}},
		{"name": {"bj-e-admin03"}, "role": {"admin"}, "mem_gb": {"256"}},
	}
	e, err := query.Parse("role=datanode mem_gb>64 name^bj-e- not (tag=canary or bj-e-admin03)")
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, n := range nodes {
		if e.Match(n) {
			fmt.Println(n["name"][0])
		}
	}
	fmt.Println(e)
	fmt.Println(e.Names(), e.FieldNames())
	// Output:
	// bj-e-dn01
	// role=datanode and mem_gb>64 and name^bj-e- and not (tag=canary or bj-e-admin03)
	// [bj-e-admin03] [mem_gb name role tag]
}

func ExampleError_Caret() {
	for _, text := range []string{"role=hadoop and", "role==hadoop", "db[01-03"} {
		_, err := query.Parse(text)
		if e, ok := errors.AsType[*query.Error](err); ok {
			fmt.Println(e.Caret())
			if e.Hint != "" {
				fmt.Println(e.Hint)
			}
		}
	}
	// Output:
	// role=hadoop and
	//                ^ expected a condition after "and"
	// role==hadoop
	//     ^ there is no operator "=="
	// did you mean "="?
	// db[01-03
	//   ^ "[" is never closed
}
