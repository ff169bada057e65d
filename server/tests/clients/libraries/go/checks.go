package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"reflect"
	"regexp"
	goruntime "runtime"
	"strings"

	"github.com/go-openapi/runtime"
	"github.com/go-openapi/strfmt"
)

// checks is what one subject checks. One that fails is told and counted, and the subject goes on: a run tells all that is wrong.
type checks struct {
	subject      string
	made, failed int
	seen         *witness
}

func (c *checks) holds(what string, true bool, found any) {
	c.made++
	if !true {
		c.fail(what, fmt.Sprintf("found %+v", found))
	}
}

func (c *checks) fail(what, why string) {
	c.failed++
	fmt.Printf("FAIL  %s: %s: %s\n", c.subject, what, strings.Join(strings.Fields(why), " "))
}

func same[T any](c *checks, what string, found, wanted T) {
	c.holds(what, reflect.DeepEqual(found, wanted), fmt.Sprintf("%+v, wanted %+v", found, wanted))
}

// refused: the call ended in this status and in Harbor's envelope with this code. Whether the library's document knows the status
// of this operation or not, it says so by another type of error; Harbor sends some that its document does not tell.
func (c *checks) refused(what string, err error, status int, code string) {
	var documented interface{ IsCode(int) bool }
	var undocumented *runtime.APIError
	switch {
	case err == nil:
		c.holds(what, false, "no error")
	case errors.As(err, &undocumented):
		c.holds(what, undocumented.Code == status, err)
	case errors.As(err, &documented):
		c.holds(what, documented.IsCode(status), err)
	default:
		c.holds(what, false, err)
	}
	var told struct {
		Errors []struct{ Code, Message string }
	}
	_ = json.Unmarshal(c.seen.body, &told)
	c.holds(what+", its code", len(told.Errors) == 1 && told.Errors[0].Code == code && told.Errors[0].Message != "", string(c.seen.body))
}

// place: a header Location of this form, where {} stands for a number, which is returned.
func (c *checks) place(what, location, form string) int64 {
	pattern := strings.Replace(regexp.QuoteMeta(form), `\{\}`, `([0-9]+)`, 1)
	found := regexp.MustCompile("^" + pattern + "$").FindStringSubmatch(location)
	c.holds(what, found != nil, fmt.Sprintf("Location `%s`, wanted %s", location, form))
	var number int64
	if len(found) > 1 {
		_, _ = fmt.Sscan(found[1], &number)
	}
	return number
}

// unexpected ends a subject: what comes after would only fail too.
type unexpected struct {
	at  string
	err error
}

// got is the answer of a call that must work, and whose content must be valid by the library's own rules.
func got[R any](answer R, err error) R {
	if err == nil {
		err = valid(answer)
	}
	if err != nil {
		panic(unexpected{"line " + subjectLine(), err})
	}
	return answer
}

// subjectLine is where a subject is just now: the nearest file that is not this one.
func subjectLine() string {
	callers := make([]uintptr, 32)
	frames := goruntime.CallersFrames(callers[:goruntime.Callers(1, callers)])
	for frame, more := frames.Next(); more; frame, more = frames.Next() {
		file := filepath.Base(frame.File)
		if strings.HasPrefix(frame.Function, "main.") && file != "checks.go" {
			return fmt.Sprintf("%s:%d", file, frame.Line)
		}
	}
	return "?"
}

func valid(answer any) error {
	payload := reflect.Indirect(reflect.ValueOf(answer)).FieldByName("Payload")
	if !payload.IsValid() {
		return nil
	}
	if payload.Kind() != reflect.Slice {
		return validOne(payload.Interface())
	}
	for row := 0; row < payload.Len(); row++ {
		if err := validOne(payload.Index(row).Interface()); err != nil {
			return err
		}
	}
	return nil
}

func validOne(payload any) error {
	if model, ok := payload.(interface{ Validate(strfmt.Registry) error }); ok {
		return model.Validate(strfmt.Default)
	}
	return nil
}

// witness stands between the library and the network: it keeps the last answer, and tells of those that no answer may be.
type witness struct {
	body  []byte
	wrong []string
}

func (w *witness) RoundTrip(request *http.Request) (*http.Response, error) {
	w.body = nil
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	w.body, err = io.ReadAll(response.Body)
	response.Body.Close()
	response.Body = io.NopCloser(bytes.NewReader(w.body))
	asked := fmt.Sprintf("%s %s, %d", request.Method, request.URL.Path, response.StatusCode)
	if response.StatusCode >= 500 {
		w.wrong = append(w.wrong, asked+": "+string(w.body))
	}
	if response.Header.Get("X-Request-Id") == "" {
		w.wrong = append(w.wrong, asked+": no X-Request-Id")
	}
	kind := response.Header.Get("Content-Type")
	if len(w.body) > 0 && !strings.HasPrefix(kind, "application/json") && !strings.HasSuffix(request.URL.Path, "/ping") {
		w.wrong = append(w.wrong, asked+": its content is "+kind)
	}
	return response, err
}

// run is the whole subject; whether all of it was as it should be.
func (c *checks) run(subject func(*checks, *world), w *world) bool {
	func() {
		defer func() {
			switch met := recover().(type) {
			case nil:
			case unexpected:
				c.fail(met.at, met.err.Error()+" "+string(c.seen.body))
			default:
				// An answer lacks what the subject takes for granted.
				c.fail("line "+subjectLine(), fmt.Sprint(met))
			}
		}()
		subject(c, w)
	}()
	for _, wrong := range c.seen.wrong {
		c.fail("an answer", wrong)
	}
	c.seen.wrong = nil
	if c.failed == 0 {
		fmt.Printf("ok    %s: %d checks\n", c.subject, c.made)
	}
	return c.failed == 0
}
