package plan

import (
	"reflect"
	"testing"

	v1 "k8s.io/api/core/v1"
)

func TestNext(t *testing.T) {
	always, onFailure, never := v1.RestartPolicyAlways, v1.RestartPolicyOnFailure, v1.RestartPolicyNever
	cases := []struct {
		name       string
		policy     v1.RestartPolicy
		containers []Container
		want       Decision
	}{
		{"init containers start one by one", always,
			[]Container{{Name: "a", Kind: Init}, {Name: "b", Kind: Init}, {Name: "m"}},
			Decision{Starts: []string{"a"}}},
		{"a running init container holds the rest", always,
			[]Container{{Name: "a", Kind: Init, State: Running}, {Name: "m"}}, Decision{}},
		{"a failed init container is tried again", onFailure,
			[]Container{{Name: "a", Kind: Init, State: Exited, ExitCode: 1}, {Name: "m"}},
			Decision{Starts: []string{"a"}}},
		{"a failed init container ends a Pod that never restarts", never,
			[]Container{{Name: "s", Kind: Sidecar, State: Running, Started: true}, {Name: "a", Kind: Init, State: Exited, ExitCode: 1}, {Name: "m"}},
			Decision{Stops: []string{"s"}}},
		{"a sidecar that has not started holds the rest", always,
			[]Container{{Name: "s", Kind: Sidecar, State: Running}, {Name: "m"}}, Decision{}},
		{"main containers follow a started sidecar", always,
			[]Container{{Name: "s", Kind: Sidecar, State: Running, Started: true}, {Name: "m"}, {Name: "n"}},
			Decision{Starts: []string{"m", "n"}}},
		{"a dead sidecar comes back beside a running main", always,
			[]Container{{Name: "s", Kind: Sidecar, State: Exited, ExitCode: 0}, {Name: "m", State: Running}},
			Decision{Starts: []string{"s"}}},
		{"policy Always restarts a success", always,
			[]Container{{Name: "m", State: Exited}}, Decision{Starts: []string{"m"}}},
		{"policy OnFailure leaves a success and finishes", onFailure,
			[]Container{{Name: "m", State: Exited}}, Decision{Finished: true}},
		{"policy OnFailure restarts a failure", onFailure,
			[]Container{{Name: "m", State: Exited, ExitCode: 3}}, Decision{Starts: []string{"m"}}},
		{"a finished Job's sidecars end in reverse order", never,
			[]Container{{Name: "s", Kind: Sidecar, State: Running, Started: true}, {Name: "t", Kind: Sidecar, State: Running, Started: true}, {Name: "m", State: Exited}},
			Decision{Stops: []string{"t", "s"}}},
		{"a dead sidecar of a finished Job stays dead", never,
			[]Container{{Name: "s", Kind: Sidecar, State: Exited, ExitCode: 137}, {Name: "m", State: Exited}},
			Decision{Finished: true}},
		{"one main still running keeps a Job going", never,
			[]Container{{Name: "m", State: Exited}, {Name: "n", State: Running}}, Decision{}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := Next(c.policy, c.containers); !reflect.DeepEqual(got, c.want) {
				t.Fatalf("want %+v, got %+v", c.want, got)
			}
		})
	}
}
