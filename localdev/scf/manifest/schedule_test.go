package manifest_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/clb-direct/clb-direct/localdev/scf/manifest"
)

func TestScheduleNext(t *testing.T) {
	cases := map[string]struct {
		reason, expression, after string
		want                      []string
	}{
		"EveryTwenty": {"The first field is seconds.", "*/20 * * * * * *", "2026-11-01 12:00:05",
			[]string{"2026-11-01 12:00:20", "2026-11-01 12:00:40", "2026-11-01 12:01:00"}},
		"From":    {"A step counts from where it begins.", "0 1/10 * * * * *", "2026-11-01 12:00:00", []string{"2026-11-01 12:01:00", "2026-11-01 12:11:00"}},
		"Names":   {"Months and weekdays have names.", "0 0 9 * NOV MON-FRI *", "2026-11-06 09:00:00", []string{"2026-11-09 09:00:00"}},
		"Either":  {"A day or a weekday: either will do.", "0 0 0 15 * SUN *", "2026-11-08 00:00:00", []string{"2026-11-15 00:00:00", "2026-11-22 00:00:00"}},
		"Year":    {"The last field is the year.", "0 0 0 1 1 * 2030", "2026-11-01 12:00:00", []string{"2030-01-01 00:00:00"}},
		"Years":   {"With lists, ranges and steps.", "0 0 0 1 1 * 2028,2030-2034/4", "2026-11-01 12:00:00", []string{"2028-01-01 00:00:00", "2030-01-01 00:00:00", "2034-01-01 00:00:00", ""}},
		"Odd":     {"A step through all of them begins with the first.", "0 0 0 1 1 * */3", "2026-11-01 12:00:00", []string{"2027-01-01 00:00:00", "2030-01-01 00:00:00"}},
		"Past":    {"A year may be over.", "0 0 0 1 1 * 2020", "2026-11-01 12:00:00", []string{""}},
		"LeapDay": {"Days need a month that has them.", "0 0 0 29 2 * *", "2026-11-01 12:00:00", []string{"2028-02-29 00:00:00"}},
		"Never":   {"Or there is none.", "0 0 0 31 2 * *", "2026-11-01 12:00:00", []string{""}},
	}
	const form = "2006-01-02 15:04:05"
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s, err := manifest.ParseSchedule(tc.expression)
			if err != nil {
				t.Fatal(err)
			}
			at, err := time.ParseInLocation(form, tc.after, manifest.Zone)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for range tc.want {
				if at = s.Next(at.UTC()); at.IsZero() {
					got = append(got, "")
					break
				}
				got = append(got, at.In(manifest.Zone).Format(form))
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s\n-want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestParseScheduleRefuses(t *testing.T) {
	for name, expression := range map[string]string{
		"Empty": "", "Five": "* * * * *", "Six": "* * * * * *", "Eight": "* * * * * * * *", "Second": "60 * * * * * *",
		"Day": "0 0 0 0 * * *", "Month": "0 0 0 1 13 * *", "Weekday": "0 0 0 * * 7 *", "Name": "0 0 0 * * FUNDAY *",
		"Question": "0 0 0 ? * * *", "Every": "@every 1s * * * * *", "Zone": "TZ=UTC * * * * * *", "Lower": "0 0 0 * jan * *",
		"NoStep": "*/ * * * * * *", "Backwards": "30-10 * * * * * *", "Comma": "1,,2 * * * * * *",
		"YearEarly": "0 0 0 1 1 * 1969", "YearLate": "0 0 0 1 1 * 2100", "YearStep": "0 0 0 1 1 * */0", "YearName": "0 0 0 1 1 * NEXT",
		"YearBackwards": "0 0 0 1 1 * 2030-2028",
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := manifest.ParseSchedule(expression); err == nil {
				t.Errorf("%q was taken", expression)
			}
		})
	}
}
