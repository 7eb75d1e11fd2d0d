/* SPDX-License-Identifier: Apache-2.0 */
#include "keeper/api/sessions.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/fd.h"
#include "base/str.h"
#include "keeper/api/detached.h"
#include "keeper/api/session_input.h"
#include "keeper/api/session_timeout.h"
#include "keeper/guest/payload.h"
#include "keeper/tasks/power.h"
#include "proto/tlv.h"

#define SESSIONS_MAX (2 * AGENT_STREAMS_MAX)

static void session_free(Session *session) {
    if (session->stream)
        link_cancel(&session->all->vm->channel.link, session->stream);
    session->timer = loop_remove(session->timer);
    watched_close(&session->socket);
    frame_reader_free(&session->reader);
    fd_close(session->input_fd);
    free(session->input);
    answer_free(&session->answer);
    detached_free(session);
    fifo_free(&session->out);
    fifo_free(&session->err);
    fifo_free(&session->last);
    free(session->rest);
    free(session);
}

void sessions_init(Sessions *sessions, Vm *vm) {
    *sessions = (Sessions){.vm = vm};
}

void sessions_free(Sessions *sessions) {
    while (sessions->list) {
        Session *session = sessions->list;
        sessions->list = session->next;
        session_free(session);
    }
}

void sessions_finish(Sessions *sessions) {
    Vm *vm = sessions->vm;
    bool owner_gone = false;
    detached_finish(sessions);
    for (Session **link = &sessions->list; *link;) {
        Session *session = *link;
        if (!session->over) {
            link = &session->next;
            continue;
        }
        owner_gone |= session->owner;
        *link = session->next;
        sessions->active_usec = clock_monotonic_usec();
        session_free(session);
    }
    if (owner_gone && vm->plan.remove_on_exit && !sessions_have_owner(sessions))
        power_abandon(vm, "owner-gone");
}

unsigned sessions_count(const Sessions *sessions) {
    unsigned count = 0;
    for (const Session *session = sessions->list; session; session = session->next)
        count += !session->over && !session->detached;
    return count;
}

bool sessions_have_owner(const Sessions *sessions) {
    for (const Session *session = sessions->list; session; session = session->next)
        if (session->owner && !session->over)
            return true;
    return false;
}

static void end_with_loss(Session *session) {
    _cleanup_error_ Error error = ERROR_INIT;
    (void)error_set(&error, ERROR_GUEST_NOT_READY, ECONNRESET,
                    "the connection to the guest's agent was lost");
    session_set_error(session, &error);
}

/* What kind of error a guest's error number is to who asked over HTTP. */
static ErrorKind kind_of(const Frame *frame, const Session *session) {
    _cleanup_error_ Error error = ERROR_INIT;
    if (session->answer.form == ANSWER_NONE)
        return ERROR_FAILED;
    (void)agent_result_read(frame, "", ERROR_FAILED, NULL, &error);
    switch (error.errnum) {
    case ENOENT: /* of a command: its user or group */
        return session->request == FRAME_EXEC ? ERROR_USAGE : ERROR_NOT_FOUND;
    case EISDIR:
    case ENOTDIR:
    case EEXIST:
    case EBUSY:
    case ETXTBSY:
        return ERROR_CONFLICT;
    case EACCES:
    case EPERM:
    case EROFS:
        return ERROR_PERMISSION;
    case EINVAL:
    case ENAMETOOLONG:
    case ELOOP:
    case E2BIG:
        return ERROR_USAGE;
    case ENOSPC:
    case EDQUOT:
        return ERROR_NO_SPACE;
    case ENOSYS:
        return ERROR_UNSUPPORTED;
    default:
        return ERROR_FAILED;
    }
}

/* An exec that ends with RESULT could not begin. A client of frames reads a copy's RESULT by
 * itself. */
static void handle_end(Session *session, const Frame *frame) {
    _cleanup_error_ Error error = ERROR_INIT;
    const char *what =
        session->request == FRAME_EXEC ? "cannot execute the command" : "in the guest";
    bool read_here = session->request == FRAME_EXEC || session->answer.form != ANSWER_NONE;
    uint64_t status = 0;
    session->stream = NULL;
    session->timer = loop_remove(session->timer);
    if (frame->type == FRAME_EXIT && session->timed_out)
        session_set_exit(session, TIMED_OUT_STATUS);
    else if (frame->type == FRAME_EXIT &&
             session_read_exit(frame->payload, frame->length, &status) == 0)
        session_set_exit(session, status);
    else if (frame->type == FRAME_RESULT && read_here &&
             agent_result_read(frame, what, kind_of(frame, session), NULL, &error) < 0)
        session_set_error(session, &error);
    else
        session_set_last(session, frame->type, frame->payload, frame->length);
}

static void on_stream(void *data, const Frame *frame) {
    Session *session = data;
    int r = 0;
    if (!frame) {
        session->stream = NULL;
        end_with_loss(session);
    } else if (frame->type == FRAME_DATA || frame->type == FRAME_DATA_ERR) {
        r = fifo_add(frame->type == FRAME_DATA ? &session->out : &session->err, frame->payload,
                     frame->length);
    } else if (frame->type == FRAME_EOF) {
        session->eof = true;
    } else if (frame->type == FRAME_EOF_ERR) {
        session->eof_err = true;
    } else if (frame->type == FRAME_WINDOW) {
        session_forward(session);
    } else {
        handle_end(session, frame);
    }
    session->over |= r < 0;
    session_send(session); /* frees nothing: see sessions_finish */
}

/* While a frame is pending, the client is not read, so its end shows as EPOLLRDHUP only. */
static void on_client(void *data, uint32_t events) {
    Session *session = data;
    bool hung_up = events & (EPOLLHUP | EPOLLERR | EPOLLRDHUP);
    bool reads = session->pending.type == 0 || session->input_fd >= 0;
    if (session->over)
        return;
    if (reads && (events & (EPOLLIN | EPOLLHUP | EPOLLERR | EPOLLRDHUP)))
        session->over |= session_read_client(session) < 0;
    else if (hung_up)
        session->over = true;
    session_send(session);
}

void sessions_go_on(Sessions *sessions) {
    for (Session *session = sessions->list; session; session = session->next) {
        if (session->pending.type || session->rest)
            session_forward(session);
        session_send(session);
    }
}

void sessions_end_all(Sessions *sessions, const Error *error) {
    for (Session *session = sessions->list; session; session = session->next) {
        session_set_error(session, error);
        if (session->stream)
            link_cancel(&sessions->vm->channel.link, session->stream);
        session->stream = NULL;
        session_send(session);
    }
}

/* Opening */

static int too_many(unsigned bound, const char *what, Error *error) {
    int r = error_set(error, ERROR_CONFLICT, EBUSY, "there are %u %s already, which is the most",
                      bound, what);
    error_set_hint(error, "wait until one of them ends");
    return r;
}

static const struct {
    const char *operation;
    uint8_t frame;
} requests[] = {{"exec", FRAME_EXEC},         {"exec_detached", FRAME_EXEC},
                {"connect", FRAME_CONNECT},   {"copy_in", FRAME_COPY_IN},
                {"copy_out", FRAME_COPY_OUT}, {"read", FRAME_READ},
                {"write", FRAME_WRITE},       {"stat", FRAME_STAT}};

/* 0 for those that ask nothing of the guest. */
static uint8_t request_type(const char *operation) {
    for (size_t i = 0; i < ARRAY_SIZE(requests); i++)
        if (str_equal(operation, requests[i].operation))
            return requests[i].frame;
    return 0;
}

/* A request that no frame holds is announced by its size; session_forward sends it. */
static int open_with(Session *session, const uint8_t *payload, size_t size) {
    Link *link = &session->all->vm->channel.link;
    if (size <= FRAME_PAYLOAD_MAX)
        return link_open(link, session->request, payload, size, on_stream, session,
                         &session->stream);
    uint8_t announcement[32];
    TlvWriter writer;
    tlv_start(&writer, announcement, sizeof(announcement));
    tlv_add_u64(&writer, TAG_REQUEST_BYTES, size);
    return link_open(link, session->request, announcement, writer.size, on_stream, session,
                     &session->stream);
}

static ssize_t write_payload(const Session *session, const json_t *request, uint8_t *payload,
                             Error *error) {
    if (session->request == FRAME_EXEC)
        return payload_write_exec(request, payload, AGENT_EXEC_MAX, error);
    if (session->request == FRAME_CONNECT)
        return payload_write_connect(request, payload, FRAME_PAYLOAD_MAX, error);
    return payload_write_path(request, NULL, payload, FRAME_PAYLOAD_MAX, error);
}

static int open_stream(Session *session, const json_t *request, Error *error) {
    _cleanup_free_ uint8_t *payload = malloc(AGENT_EXEC_MAX);
    if (!payload)
        return error_set(error, ERROR_NO_MEMORY, ENOMEM, "not enough memory");
    ssize_t size = write_payload(session, request, payload, error);
    if (size < 0)
        return (int)size;
    int r = open_with(session, payload, (size_t)size);
    if (r == -EBUSY)
        return too_many(AGENT_STREAMS_MAX, "commands and copies under way in the guest", error);
    if (r < 0)
        return error_set(error, ERROR_GUEST_NOT_READY, -r, "the guest's agent does not answer");
    if (size > FRAME_PAYLOAD_MAX) {
        session->rest = TAKE_PTR(payload);
        session->rest_size = (size_t)size;
    }
    return 0;
}

/* Without "stdin" the command reads an empty one. */
static int end_unwanted_input(Session *session, const json_t *request, Error *error) {
    bool wanted = session->input_fd >= 0;
    int r = json_opt_bool("exec", request, "stdin", &wanted, error);
    if (r == 0 && !wanted && session->request == FRAME_EXEC && session->rest)
        session->eof_due = true;
    else if (r == 0 && !wanted && session->request == FRAME_EXEC)
        r = session_forward_eof(session);
    return r;
}

static int read_timeout(Session *session, const json_t *request, Error *error) {
    uint64_t timeout_s = 0;
    int r = json_opt_u64("exec", request, "timeout_s", &timeout_s, error);
    if (r == 0 && timeout_s > 0 && session->request == FRAME_EXEC)
        session_set_timeout(session, MIN_OF(timeout_s, (uint64_t)UINT32_MAX) * USEC_PER_SEC);
    return r;
}

static int prepare(Session *session, const json_t *request, Error *error) {
    int r = json_opt_bool("the request", request, "owner", &session->owner, error);
    if (r < 0)
        return r;
    if (frame_reader_init(&session->reader) < 0)
        return error_set(error, ERROR_NO_MEMORY, ENOMEM, "not enough memory");
    if (session->request == 0)
        return 0;
    r = open_stream(session, request, error);
    if (r == 0)
        r = end_unwanted_input(session, request, error);
    return r < 0 ? r : read_timeout(session, request, error);
}

static int watch(Session *session, int fd, Error *error) {
    session->events = EPOLLIN | EPOLLRDHUP;
    session->socket.source =
        loop_add_fd(session->all->vm->loop, fd, session->events, on_client, session);
    if (!session->socket.source)
        return error_set_errno(error, errno, "cannot watch the client's stream");
    session->socket.fd = fd;
    return 0;
}

static int check_open(const Session *session, Error *error) {
    const Vm *vm = session->all->vm;
    int r = session->request == 0 && vm->state == VM_STARTING ? 0 : vm_require_up(vm, error);
    if (r < 0)
        return r;
    if (sessions_count(session->all) >= SESSIONS_MAX)
        return too_many(SESSIONS_MAX, "clients connected to the VM", error);
    return session->request == 0 ? 0 : pulse_require(&vm->pulse, error);
}

static int read_form(const char *name) {
    static const char *const forms[] = {"none", "document", "lines", "file", "stat", "done"};
    for (size_t i = 0; i < ARRAY_SIZE(forms); i++)
        if (str_equal(name, forms[i]))
            return (int)i;
    return -1;
}

/* How a client of plain HTTP wants its answer; the daemon has checked what the client said. */
static int read_answer(Session *session, const json_t *request, Error *error) {
    const char *form = "none", *output = "auto";
    int r = json_opt_string("the request", request, "answer", &form, error);
    if (r == 0)
        r = json_opt_string("the request", request, "output", &output, error);
    if (r == 0)
        r = json_opt_bool("the request", request, "chunked", &session->answer.chunked, error);
    if (r < 0)
        return r;
    if (read_form(form) < 0)
        return error_set(error, ERROR_USAGE, 0, "there is no such form of an answer");
    session->answer.form = (AnswerForm)read_form(form);
    session->answer.text = str_equal(output, "text")     ? ANSWER_TEXT
                           : str_equal(output, "base64") ? ANSWER_BASE64
                                                         : ANSWER_AUTO;
    return 0;
}

static int keep_input(Session *session, int fd, Error *error) {
    session->input = malloc(SESSION_INPUT_BYTES);
    if (!session->input)
        return error_set(error, ERROR_NO_MEMORY, ENOMEM, "not enough memory");
    session->input_fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    return session->input_fd < 0 ? error_set_errno(error, errno, "cannot keep the input") : 0;
}

static int begin(Session *session, const char *operation, const json_t *request, const int *fds,
                 size_t n_fds, Error *error) {
    bool detached = str_equal(operation, "exec_detached");
    size_t client = detached ? 0 : 1;
    if (n_fds < client || n_fds > client + 1)
        return error_set(error, ERROR_USAGE, 0,
                         "the client's stream did not come with the request");
    int r = check_open(session, error);
    if (r == 0)
        r = read_answer(session, request, error);
    if (r == 0 && n_fds > client)
        r = keep_input(session, fds[client], error);
    if (r == 0 && detached)
        r = detached_begin(session, request, error);
    if (r == 0)
        r = prepare(session, request, error);
    if (r == 0 && str_equal(operation, "exec_wait"))
        r = detached_wait(session, request, error);
    return r < 0 || detached ? r : watch(session, fds[0], error);
}

int sessions_open(Sessions *sessions, const char *operation, const json_t *request, const int *fds,
                  size_t n_fds, json_t **answer, Error *error) {
    Session *session = calloc(1, sizeof(*session));
    if (!session)
        return error_set(error, ERROR_NO_MEMORY, ENOMEM, "not enough memory");
    *session = (Session){
        .all = sessions, .socket.fd = -1, .input_fd = -1, .request = request_type(operation)};
    int r = begin(session, operation, request, fds, n_fds, error);
    if (r < 0) {
        session_free(session);
        return r;
    }
    session->next = sessions->list;
    sessions->list = session;
    pulse_asked(&sessions->vm->pulse);
    session_forward(session);
    if (session->detached)
        *answer = json_pack("{s:s}", "id", session->detached->id);
    else
        session_send(session); /* a wait may be over at once */
    return 0;
}
