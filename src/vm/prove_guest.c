/* SPDX-License-Identifier: Apache-2.0 */

/* What a clone is asked. Commands run through the keeper as those of `ramet exec` do, with this
 * thread as the client; the clock is the agent's answer to a ping, which any guest has. */

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/agent.h"
#include "proto/frame.h"
#include "proto/keeper.h"
#include "proto/tlv.h"
#include "vm/prove_internal.h"
#include "vm/vm.h"

#define ANSWER_TIMEOUT_USEC (180 * USEC_PER_SEC)
#define OUTPUT_MAX ((size_t)64 * KIB)
#define CLOCK_TRIES 24
#define CLOCK_LIMIT_MS 50.0

/* The first thing that a clone is made to do is to draw random bytes. */
static const char ask_script[] =
    "echo random=$(head -c 16 /dev/urandom | od -An -v -tx1 | tr -d ' \\n')\n"
    "echo uuid=$(cat /proc/sys/kernel/random/uuid)\n"
    "echo machine_id=$(cat /etc/machine-id)\n"
    "echo hostname=$(cat /proc/sys/kernel/hostname)\n"
    "echo boot_id=$(cat /proc/sys/kernel/random/boot_id)\n"
    "echo mac=$(cat /sys/class/net/eth0/address 2>/dev/null)\n"
    "read up rest </proc/uptime; echo uptime=$up\n"
    "for f in /etc/ssh/ssh_host_*_key.pub; do [ -f \"$f\" ] && echo ssh_key=$(cat \"$f\"); done\n"
    "true\n";

/* --- running a script --------------------------------------------------------------------------
 */

typedef struct Run {
    FrameReader reader;
    StrBuf out, err;
    int status; /* -1: it goes on */
} Run;

static void run_free(Run *run) {
    frame_reader_free(&run->reader);
    strbuf_free(&run->out);
    strbuf_free(&run->err);
}

static void keep_output(StrBuf *buffer, const Frame *frame) {
    size_t room = OUTPUT_MAX - MIN_OF(buffer->size, OUTPUT_MAX);

    strbuf_add(buffer, (const char *)frame->payload, MIN_OF((size_t)frame->length, room));
}

static int take_exit(Run *run, const Frame *frame) {
    TlvReader reader;
    TlvField field;
    uint64_t code = 255;

    tlv_read(&reader, frame->payload, frame->length);
    while (tlv_next(&reader, &field) > 0)
        if (field.tag == TAG_EXIT_CODE && tlv_u64(&field, &code) < 0)
            code = 255;
    run->status = (int)MIN_OF(code, (uint64_t)255);
    return 0;
}

static int take_failure(const Frame *frame, Error *error) {
    _cleanup_json_ json_t *json = NULL;
    int r = json_parse("the keeper's answer", (const char *)frame->payload, frame->length, &json,
                       error);

    if (r >= 0)
        r = json_to_error(json, error);
    return r < 0 ? r : -EIO;
}

static int take_frames(Run *run, Error *error) {
    Frame frame;
    int r = 0;

    while (r >= 0 && frame_reader_next(&run->reader, &frame)) {
        if (frame.type == FRAME_DATA)
            keep_output(&run->out, &frame);
        else if (frame.type == FRAME_DATA_ERR)
            keep_output(&run->err, &frame);
        else if (frame.type == FRAME_EXIT)
            r = take_exit(run, &frame);
        else if (frame.type == FRAME_ERROR)
            r = take_failure(&frame, error);
    }
    return r;
}

static int read_more(Prove *prove, int fd, Run *run, uint64_t deadline_usec, Error *error) {
    struct pollfd fds[2] = {{.fd = fd, .events = POLLIN},
                            {.fd = prove->operation->cancel_fd, .events = POLLIN}};
    size_t room;
    uint8_t *space = frame_reader_space(&run->reader, &room);
    int r = poll(fds, 2, clock_poll_timeout(deadline_usec));
    ssize_t n;

    if (r == 0)
        return error_set(error, ERROR_TIMEOUT, ETIMEDOUT, "the guest did not answer a command");
    if (r > 0 && fds[1].revents)
        return operation_check(prove->operation, error);
    if (r < 0 || !fds[0].revents)
        return 0;
    n = read(fd, space, room);
    if (n <= 0)
        return error_set_errno(error, n < 0 ? errno : ECONNRESET, "the guest is gone");
    frame_reader_added(&run->reader, (size_t)n);
    return take_frames(run, error);
}

static int hand_script(Prove *prove, const char *vm, const char *script, int *fd, Error *error) {
    _cleanup_json_ json_t *request = json_pack("{s:[s, s, s]}", "argv", "/bin/sh", "-c", script);
    _cleanup_close_ int theirs = -1, ours = -1;
    int pair[2], r = fd_socketpair(SOCK_STREAM, pair);

    if (r < 0)
        return error_set_errno(error, -r, "cannot make a socket pair");
    ours = pair[0];
    theirs = pair[1];
    r = vm_hand_stream(prove->ramet, vm, "exec", request, theirs, error);
    if (r >= 0)
        *fd = TAKE_FD(ours);
    return r;
}

int prove_run(Prove *prove, const char *vm, const char *script, char **out, Error *error) {
    uint64_t deadline = clock_monotonic_usec() + ANSWER_TIMEOUT_USEC;
    _cleanup_(run_free) Run run = {.status = -1};
    _cleanup_close_ int fd = -1;
    int r = frame_reader_init(&run.reader);

    if (r < 0)
        return error_set_errno(error, -r, "cannot run a command");
    r = hand_script(prove, vm, script, &fd, error);
    while (r >= 0 && run.status < 0)
        r = read_more(prove, fd, &run, deadline, error);
    if (r < 0)
        return error_add_context(error, "a command in clone %.8s", vm);
    if (run.status != 0) {
        _cleanup_free_ char *said = str_sanitize(run.err.data ? run.err.data : "", run.err.size);

        return error_set(error, ERROR_FAILED, EIO,
                         "a command in clone %.8s ended with status %d: %.200s", vm, run.status,
                         said);
    }
    if (out)
        *out = strbuf_take(&run.out);
    return 0;
}

/* --- facts -------------------------------------------------------------------------------------
 */

/* key=value lines; the same key again is added after a comma. */
static void take_line(json_t *facts, char *line) {
    char *value = strchr(line, '=');
    _cleanup_free_ char *clean = NULL;
    const char *before;

    if (!value)
        return;
    *value++ = '\0';
    clean = str_sanitize(value, strlen(value));
    before = json_string_value(json_object_get(facts, line));
    if (before) {
        _cleanup_free_ char *both = str_format("%s, %s", before, clean);

        (void)json_object_set_new(facts, line, json_string(both));
    } else if (*clean) {
        (void)json_object_set_new(facts, line, json_string(clean));
    }
}

static int ask_keeper(Prove *prove, const char *id, const char *op, json_t **ok, Error *error) {
    _cleanup_json_ json_t *request = json_pack("{s:s}", "op", op);
    _cleanup_close_ int dir_fd = -1;
    int r = vm_folder_open(prove->ramet, id, &dir_fd, error);

    return r < 0
               ? r
               : keeper_call(dir_fd, request, NULL, 0, clock_monotonic_usec() + ANSWER_TIMEOUT_USEC,
                             prove->operation->cancel_fd, NULL, NULL, ok, error);
}

static void copy_fact(json_t *facts, const char *name, const json_t *from, const char *key) {
    if (json_object_get(from, key))
        (void)json_object_set(facts, name, json_object_get(from, key));
}

int prove_ask(Prove *prove, ProveClone *clone, Error *error) {
    _cleanup_json_ json_t *status = NULL, *vm = NULL;
    _cleanup_free_ char *out = NULL;
    char *rest = NULL;
    int r = prove_run(prove, clone->id, ask_script, &out, error);

    if (r < 0)
        return r;
    (void)json_object_set_new(
        clone->facts, "since_fork_us",
        json_integer((json_int_t)(clock_monotonic_usec() - prove->forked_usec)));
    for (char *line = strtok_r(out, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
        take_line(clone->facts, line);
    r = ask_keeper(prove, clone->id, "status", &status, error);
    if (r >= 0)
        r = vm_inspect(prove->ramet, clone->id, &vm, error);
    if (r < 0)
        return r;
    copy_fact(clone->facts, "ram_nonce", status, "ram_nonce");
    copy_fact(clone->facts, "counter", status, "counter");
    copy_fact(clone->facts, "boot", vm, "boot");
    copy_fact(clone->facts, "ip", vm, "ip");
    copy_fact(clone->facts, "network", vm, "network");
    return 0;
}

/* The guest looked at its clock between two looks at ours: it is ahead by something between what
 * the later and what the earlier one say. Each try narrows that down; the first that leaves no
 * doubt ends it. */
int prove_ask_clock(Prove *prove, ProveClone *clone, Error *error) {
    for (int i = 0; i < CLOCK_TRIES; i++) {
        _cleanup_json_ json_t *ok = NULL;
        double before = (double)clock_realtime_usec(), after, guest;
        int r = ask_keeper(prove, clone->id, "ping", &ok, error);

        if (r < 0)
            return r;
        after = (double)clock_realtime_usec();
        guest = json_number_value(json_object_get(ok, "value"));
        if (guest <= 0)
            return error_set(error, ERROR_UNSUPPORTED, ENOSYS,
                             "the snapshot's agent is too old to tell its time");
        clone->least_ms = MAX_OF(clone->least_ms, (guest - after) / 1000);
        clone->most_ms = MIN_OF(clone->most_ms, (guest - before) / 1000);
        if (i >= 2 && clone->least_ms >= -CLOCK_LIMIT_MS && clone->most_ms <= CLOCK_LIMIT_MS)
            break;
    }
    (void)json_object_set_new(clone->facts, "clock_ms",
                              json_pack("[f, f]", clone->least_ms, clone->most_ms));
    return 0;
}

/* --- marks -------------------------------------------------------------------------------------
 */

int prove_write_mark(Prove *prove, const char *vm, const char *mark, Error *error) {
    _cleanup_free_ char *script =
        str_format("set -e; mkdir -p /var/lib /dev/shm; echo %s >/var/lib/ramet-prove; "
                   "head -c 1048576 /dev/urandom >/dev/shm/ramet-prove.fill; "
                   "echo %s >/dev/shm/ramet-prove; sync",
                   mark, mark);

    return prove_run(prove, vm, script, NULL, error);
}

int prove_read_mark(Prove *prove, const char *vm, char **mark, Error *error) {
    return prove_run(prove, vm, "echo $(cat /dev/shm/ramet-prove) $(cat /var/lib/ramet-prove)",
                     mark, error);
}
