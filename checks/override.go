package checks

import (
	"maps"

	"alps/mesh"
)

// Override returns def with the settings that configuration has for it: the
// setting warn of the check host-disk is called check/host-disk/warn there.
// setting returns the nearest value of a name. A value that makes no sense is
// taken all the same, and the check says so by being unknown. def is not
// changed.
func Override(def mesh.CheckDef, setting func(name string) (string, bool)) mesh.CheckDef {
	settings := maps.Clone(def.Settings)
	for name := range settings {
		if v, ok := setting(SettingName(def.ID, name)); ok {
			settings[name] = v
		}
	}
	def.Settings = settings
	return def
}

// SettingName is what a setting of a check is called in configuration.
func SettingName(check, setting string) string { return "check/" + check + "/" + setting }
