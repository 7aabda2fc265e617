package manifest

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// Zone is that in which a timer's expression is read ("Timer Trigger": UTC+8).
var Zone = time.FixedZone("UTC+8", 8*60*60)

// The years that an expression may name.
const (
	firstYear = 1970
	lastYear  = 2099
)

// Schedule is when a timer fires: a cron expression of seven fields, second minute hour
// day month weekday year ("Timer Trigger", document 583/9708). Where both day and
// weekday are given, either will do.
type Schedule struct {
	spec  cron.Schedule // the first six
	years []int         // sorted; nil is every year
}

// fieldNames are the seven, in order.
var fieldNames = []string{"second", "minute", "hour", "day", "month", "weekday", "year"}

// fieldForm is what may stand in a field. The library takes more than the platform
// documents: a question mark, descriptors, zones.
var fieldForm = regexp.MustCompile(`^(\*|[0-9A-Z]+(-[0-9A-Z]+)?)(/[0-9]+)?(,(\*|[0-9A-Z]+(-[0-9A-Z]+)?)(/[0-9]+)?)*$`)

var sixFields = cron.NewParser(cron.Second | cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow)

// ParseSchedule reads an expression. The legacy form of five fields is refused, since
// it would be read as something else by everybody.
func ParseSchedule(expression string) (*Schedule, error) {
	fields := strings.Fields(expression)
	if len(fields) != len(fieldNames) {
		return nil, fmt.Errorf("%q has %d fields, want %d: %s", expression, len(fields), len(fieldNames), strings.Join(fieldNames, " "))
	}
	for i, field := range fields {
		if !fieldForm.MatchString(field) {
			return nil, fmt.Errorf("the %s %q: want numbers or names with , - * and /", fieldNames[i], field)
		}
	}
	years, err := parseYears(fields[6])
	if err != nil {
		return nil, err
	}
	spec, err := sixFields.Parse(strings.Join(fields[:6], " "))
	if err != nil {
		return nil, fmt.Errorf("%q: %w", expression, err)
	}
	return &Schedule{spec: spec, years: years}, nil
}

// parseYears reads the one field that the library doesn't know.
func parseYears(field string) ([]int, error) {
	if field == "*" {
		return nil, nil
	}
	bad := fmt.Errorf("the year %q: want %d to %d with , - * and /", field, firstYear, lastYear)
	var years []int
	for part := range strings.SplitSeq(field, ",") {
		bounds, every, stepped := strings.Cut(part, "/")
		low, high, ranged := strings.Cut(bounds, "-")
		first, last, step := firstYear, lastYear, 1
		var err error
		if low != "*" {
			if first, err = strconv.Atoi(low); err != nil {
				return nil, bad
			}
			if !stepped {
				last = first
			}
		}
		if ranged {
			if last, err = strconv.Atoi(high); err != nil {
				return nil, bad
			}
		}
		if stepped {
			if step, err = strconv.Atoi(every); err != nil {
				return nil, bad
			}
		}
		if first < firstYear || last > lastYear || first > last || step < 1 {
			return nil, bad
		}
		for y := first; y <= last; y += step {
			years = append(years, y)
		}
	}
	slices.Sort(years)
	return slices.Compact(years), nil
}

// Next is the first time after the given one, or the zero time if there is none.
func (s *Schedule) Next(after time.Time) time.Time {
	t := after.In(Zone)
	for {
		t = s.spec.Next(t)
		if t.IsZero() || t.Year() > lastYear {
			return time.Time{}
		}
		if s.years == nil {
			return t
		}
		i, found := slices.BinarySearch(s.years, t.Year())
		switch {
		case found:
			return t
		case i == len(s.years):
			return time.Time{}
		}
		t = time.Date(s.years[i], time.January, 1, 0, 0, 0, 0, Zone).Add(-time.Nanosecond)
	}
}
