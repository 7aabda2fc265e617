package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"sigs.k8s.io/yaml"
)

// decodeYAML reads a document as plain maps, with numbers as they were written.
func decodeYAML(data []byte) (map[string]any, error) {
	raw, err := yaml.YAMLToJSONStrict(data)
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var top map[string]any
	if err := d.Decode(&top); err != nil || top == nil {
		return nil, errors.New("the document is not a map")
	}
	return top, nil
}

// remarshal decodes a part of the document, which has been checked, into a struct.
func remarshal(field string, part, into any) error {
	raw, err := json.Marshal(part)
	if err != nil {
		return fmt.Errorf("%s: %w", field, err)
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("%s: %w", field, err)
	}
	return nil
}

func orElse(s, fallback string) string {
	if s == "" {
		return fallback
	}
	return s
}

func derefOr(p *int, fallback int) int {
	if p == nil {
		return fallback
	}
	return *p
}
