package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"alps/mesh"
)

// Limits of a wait: how long one attempt may take, what lies between two, and
// how long anybody may wait.
const (
	awaitAttempt = 2 * time.Second
	awaitPause   = 200 * time.Millisecond
	awaitMost    = time.Hour
)

func newAwait(a *app) *cobra.Command {
	var limit time.Duration
	c := &cobra.Command{
		Use:   "await HOST:PORT|URL",
		Short: "Wait until an address answers",
		Long: `Wait until an address takes a connection, or a URL answers with 2xx or 3xx.

The last line of the output is what a policy's plan reads: one JSON object with
the verdict and its evidence. Exit codes: 0 it answers, 1 it did not in time,
2 the question makes no sense. In a step of a plan (ALPS_STEP) there is no 1:
the verdict says it.`,
		Example: `  alps await 127.0.0.1:9000 --within 20s
  alps await http://127.0.0.1:8080/health`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ask, err := asker(args[0])
			if err != nil {
				return err
			}
			if limit <= 0 || limit > awaitMost {
				return usagef("--within %s: want more than 0s, at most %s", limit, awaitMost)
			}
			return a.answer(await(cmd.Context(), args[0], limit, ask))
		},
	}
	c.Flags().DurationVar(&limit, "within", 30*time.Second, "how long to wait")
	return c
}

// asker returns what asks a place once.
func asker(place string) (func(context.Context) error, error) {
	if strings.HasPrefix(place, "http://") || strings.HasPrefix(place, "https://") {
		u, err := url.Parse(place)
		if err != nil || u.Host == "" {
			return nil, usagef("%q is not a URL", place)
		}
		return func(ctx context.Context) error { return askURL(ctx, place) }, nil
	}
	host, port, err := net.SplitHostPort(place)
	if n, e := strconv.ParseUint(port, 10, 16); err != nil || host == "" || e != nil || n == 0 {
		return nil, usagef("%q is neither host:port nor a URL", place)
	}
	return func(ctx context.Context) error {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", place)
		if err != nil {
			return err
		}
		return c.Close()
	}, nil
}

func askURL(ctx context.Context, place string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, place, http.NoBody)
	if err != nil {
		return err
	}
	client := http.Client{
		// Whoever sends elsewhere has answered.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport:     &http.Transport{DisableKeepAlives: true},
	}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	_ = res.Body.Close() // its status was the answer.
	if res.StatusCode >= http.StatusBadRequest {
		return errors.New("it answers " + res.Status)
	}
	return nil
}

// await asks until somebody answers or the time is over.
func await(ctx context.Context, place string, limit time.Duration, ask func(context.Context) error) mesh.Answer {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	v := mesh.Answer{Verdict: mesh.VerdictOK, Evidence: map[string]string{"address": place}}
	var last error
	for {
		once, done := context.WithTimeout(ctx, awaitAttempt)
		err := ask(once)
		done()
		v.Evidence["after"] = time.Since(began).Round(time.Millisecond).String()
		if err == nil {
			return v
		}
		if last == nil || ctx.Err() == nil { // the end of the time is no news of the place.
			last = err
		}
		select {
		case <-ctx.Done():
			v.Verdict, v.Reason = mesh.VerdictNo, fmt.Sprintf("%s does not answer: %v", place, last)
			return v
		case <-time.After(awaitPause):
		}
	}
}
