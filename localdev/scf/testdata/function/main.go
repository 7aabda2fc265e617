// Command function is the function that the emulator's tests package and run: it does
// what its event says.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tencentyun/scf-go-lib/cloudfunction"
	"github.com/tencentyun/scf-go-lib/functioncontext"
)

// command is the event.
type command struct {
	Do           string          `json:"do"`
	Milliseconds int             `json:"ms"`
	Megabytes    int             `json:"mb"`
	Text         string          `json:"text"`
	Answer       json.RawMessage `json:"answer"`

	// Set in the envelope of a function URL.
	HTTPMethod string `json:"httpMethod"`
	Body       string `json:"body"`
}

type function struct {
	ticks atomic.Int64
	kept  []byte
}

func main() {
	if os.Getenv("CRASH") == "init" {
		fmt.Fprintln(os.Stderr, "no such luck")
		os.Exit(3)
	}
	if os.Getenv("CRASH") == "hang" {
		time.Sleep(time.Hour)
	}
	f := &function{}
	go func() {
		for range time.Tick(time.Millisecond) {
			f.ticks.Add(1)
		}
	}()
	cloudfunction.StartHandler(f)
}

// Invoke does what the event, or the body of the HTTP request in it, says.
func (f *function) Invoke(ctx context.Context, payload []byte) ([]byte, error) {
	var c command
	if err := json.Unmarshal(payload, &c); err != nil {
		return nil, err
	}
	if c.HTTPMethod != "" {
		if err := json.Unmarshal([]byte(c.Body), &c); err != nil {
			return nil, err
		}
	}
	switch c.Do {
	case "answer":
		return c.Answer, nil
	case "sleep":
		time.Sleep(time.Duration(c.Milliseconds) * time.Millisecond)
		return json.Marshal("slept")
	case "who":
		time.Sleep(time.Duration(c.Milliseconds) * time.Millisecond)
		return json.Marshal(os.Getpid())
	case "wait":
		<-ctx.Done()
		return json.Marshal(context.Cause(ctx).Error())
	case "print":
		fmt.Println(c.Text)
		return json.Marshal("printed")
	case "error":
		return nil, errors.New(c.Text)
	case "panic":
		panic(c.Text)
	case "exit":
		os.Exit(3)
	case "allocate":
		f.kept = make([]byte, c.Megabytes<<20)
		for i := 0; i < len(f.kept); i += 4096 {
			f.kept[i] = 1
		}
		return json.Marshal(len(f.kept))
	case "large":
		return json.Marshal(strings.Repeat("a", c.Megabytes<<20))
	case "ticks":
		return json.Marshal(f.ticks.Load())
	case "context":
		return describe(ctx)
	}
	return payload, nil
}

// describe answers with all that a function can know about itself.
func describe(ctx context.Context) ([]byte, error) {
	fc, _ := functioncontext.FromContext(ctx)
	deadline, _ := ctx.Deadline()
	wd, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	environment := map[string]string{}
	for _, v := range os.Environ() {
		key, value, _ := strings.Cut(v, "=")
		environment[key] = value
	}
	return json.Marshal(map[string]any{
		"pid": os.Getpid(), "wd": wd, "environment": environment, "context": fc,
		"remainingMs": time.Until(deadline).Milliseconds(),
	})
}
