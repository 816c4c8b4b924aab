package config

// Log says what is logged, and how. Its keys stand at the top of the file.
type Log struct {
	// What is logged. info is what an operator would act on or count; debug
	// adds a line per job, check or message.
	Level string `key:"log_level,reload" oneof:"trace debug info warn error"`

	// Whether a log line is a JSON object, for machines that collect it.
	JSON bool `key:"log_json"`
}

func defaultLog() Log {
	return Log{Level: "info"}
}
