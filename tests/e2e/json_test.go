package e2e

import "encoding/json"

func toJSON(v any) ([]byte, error) { return json.Marshal(v) }

func fromJSON(raw []byte, v any) error { return json.Unmarshal(raw, v) }

func toMap(v any) (map[string]any, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	var out map[string]any
	return out, json.Unmarshal(raw, &out)
}
