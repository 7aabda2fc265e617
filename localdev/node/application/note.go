package application

import "time"

// Paths of the application in a real container. What else is asked for is answered with 200.
const (
	// ReadyPath answers 503 until the application is ready.
	ReadyPath = "/ready"
	// LivePath answers 503 once it has been posted to, until the process ends.
	LivePath = "/live"
)

// What a real container's process tells of itself.
const (
	NoteStarted    = "started"
	NoteTerminated = "SIGTERM"
)

// Note is a line of its journal, as JSON.
type Note struct {
	UID       string    `json:"uid"`
	Pod       string    `json:"pod"`
	Container string    `json:"container"`
	What      string    `json:"what"`
	At        time.Time `json:"at"`
}
