# Who is told. Every other file in this directory names it: copy this one to the
# directory of the rules too, and write your own.

receiver "ops" {
  url = "https://chat.example/hook"
}
