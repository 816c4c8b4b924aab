package notify

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"alps/mesh"
)

// DeliveryHeader names the delivery in a request.
const DeliveryHeader = "Alps-Delivery"

// maxAnswer bounds what is read of an answer: enough to use the connection
// again, not enough to hurt.
const maxAnswer = 64 << 10

// newTransport is shared by all webhooks of an engine. A nil roots means those
// of the system.
func newTransport(roots *x509.CertPool) *http.Transport {
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
		ForceAttemptHTTP2:      true,
		MaxIdleConnsPerHost:    atOnce,
		IdleConnTimeout:        time.Minute,
		TLSHandshakeTimeout:    10 * time.Second,
		MaxResponseHeaderBytes: maxAnswer,
	}
}

// webhook is the Sender of a receiver with a URL.
type webhook struct {
	client *http.Client
	url    *url.URL
	header map[string]string
}

func newWebhook(r mesh.Receiver, transport http.RoundTripper) (*webhook, error) {
	u, err := url.Parse(r.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("its url is not one of http or https") // the text may be a secret.
	}
	return &webhook{
		url: u, header: r.Header,
		client: &http.Client{
			Transport:     transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// Send implements Sender.
func (w *webhook) Send(ctx context.Context, m Message) error {
	body, err := json.Marshal(m.Document())
	if err != nil {
		return Refuse(fmt.Errorf("encode the message: %w", err))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url.String(), bytes.NewReader(body))
	if err != nil {
		return Refuse(w.failure(err))
	}
	req.Header.Set("User-Agent", "alps")
	for k, v := range w.header {
		req.Header.Set(k, v)
		if strings.EqualFold(k, "Host") {
			req.Host = v
		}
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set(DeliveryHeader, m.ID)
	resp, err := w.client.Do(req)
	if err != nil {
		return w.failure(err)
	}
	defer resp.Body.Close()
	// What counts is the status, which is here; a body that hangs or breaks
	// only costs the connection.
	_, _ = io.CopyN(io.Discard, resp.Body, maxAnswer)
	return w.judge(resp)
}

func (w *webhook) judge(resp *http.Response) error {
	code := resp.StatusCode
	switch {
	case code >= 200 && code < 300:
		return nil
	case code >= 300 && code < 400:
		return w.failure(fmt.Errorf("it answers %d, and redirects are not followed", code))
	}
	err := w.failure(fmt.Errorf("it answers %d %s", code, http.StatusText(code)))
	if code >= 400 && code < 500 && code != http.StatusRequestTimeout && code != http.StatusTooManyRequests {
		return Refuse(err)
	}
	if after, ok := retryAfter(resp.Header.Get("Retry-After"), time.Now()); ok {
		return Postpone(err, after)
	}
	return err
}

// failure says what went wrong, and of where no more than the host.
func (w *webhook) failure(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err
	}
	return fmt.Errorf("post to %s://%s: %w", w.url.Scheme, w.url.Host, err)
}

// retryAfter reads the header of that name: seconds or a date.
func retryAfter(text string, now time.Time) (time.Duration, bool) {
	text = strings.TrimSpace(text)
	if n, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(n) * time.Second, true
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(0, at.Sub(now)), true
	}
	return 0, false
}

// cut shortens a text to at most n bytes of valid UTF-8.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	const mark = " …"
	return strings.ToValidUTF8(s[:n-len(mark)], "") + mark
}
