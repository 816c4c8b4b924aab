// Package query is the one grammar by which people and programs say "these
// nodes": the targets of a job, lists, roles, silences, scopes of tokens, and
// filters of the API.
//
//	role=datanode dc=bj-e-01 status!=passing mem_gb>64
//	name~^bj-e- not (tag=canary or name=bj-e-admin03)
//	bj-e-hadoop01-11-[203-213],db[01-10,15]
//	all
//
// The grammar, in EBNF:
//
//	query     = and { "or" and } .
//	and       = unary { [ "and" ] unary } .
//	unary     = "not" unary | "(" query ")" | "all" | "*" | names | condition .
//	names     = a list of node names and ranges as in package nodeset, without spaces .
//	condition = field operator value { "," value } .
//	field     = ( letter | "_" ) { letter | digit | "_" | "-" | "." } .
//	operator  = "=" | "!=" | "^" | "~" | "!~" | ">" | ">=" | "<" | "<=" .
//	value     = word | `"` { character | `\"` | `\\` } `"` .
//	word      = one or more of letter, digit and _-.:/@%+ .
//
// Conditions side by side must all hold, as if "and" stood between them; "or"
// binds less than that, "not" binds most. Keywords may be written in capitals.
// White space may stand around operators, not inside of lists. A value that is
// empty, a keyword, or holds anything else than a word must be quoted; within
// quotes only \" and \\ are escapes, so "\d+" needs no doubling. Two lists of
// names side by side are refused, since a comma was meant.
//
// What the operators ask of a value of the field:
//
//	=   is the text                 role=datanode   role=web,db means either
//	!=  no value is the text        role!=web,db means neither
//	^   begins with the text        name^bj-e-      a list means any of them
//	~   matches the RE2 expression anywhere; may stand without quotes up to a
//	    space or a ")" that it did not open: name~^(bj|sh)-
//	!~  no value matches it
//	> >= < <=  both are decimal numbers, and compare so; false for a value that
//	    is none, and the query must give a number
//
// A field may have several values (service, tag): one that fits is enough, and
// != and !~ mean that none fits. A node that lacks a field is treated as in
// Prometheus, as if the field had the empty text for its only value:
//
//	role=web    false without a role     role!=web   true without a role
//	role=""     has no role              role!=""    has a role
//
// = and != compare texts and never numbers: release 1.10 is not release 1.1.
// Names of fields and values differ by case.
//
// Parse holds to limits (see MaxInput, MaxDepth) so that a query from a
// stranger costs little. Its Error points at the place and often says what to
// type instead:
//
//	role=hadoop and
//	               ^ expected a condition after "and"
//
// The package is pure: it imports mesh, mesh/nodeset and the standard library,
// does no I/O and does not log. It knows no field but "name"; what a node is,
// the caller's Fields say.
package query
