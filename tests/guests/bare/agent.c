/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's protocol (docs/protocols.md, src/proto/agent.h), as far as a VM without files and
 * programs can serve it. The frames and fields are Ramet's own. Bytes come through the port, or in
 * a clone's first moment through the mailbox, and answers go back by the way by which the request
 * came as long as they fit.
 *
 * All is done by one CPU, one request after the other. While it is frozen it does not even halt: a
 * snapshot is taken, and a clone wakes, between two of its looks at mailbox and port. */

#include <errno.h>
#include <string.h>

#include "bare.h"
#include "proto/agent.h"
#include "proto/frame.h"
#include "proto/tlv.h"

#define PAYLOAD_MAX (COMMAND_OUT + 256u)

Self self;

static FrameReader reader;
static uint8_t marker[AGENT_MARKER_SIZE], ram_nonce[AGENT_NONCE_SIZE];
static size_t matched; /* bytes of the marker that the last ones were */
static bool greeted, expects_hello, frozen, by_mailbox;
static uint32_t session;
static volatile AgentMailbox mailbox __attribute__((aligned(AGENT_MAILBOX_SIZE)));

/* ---- the mailbox ---- */

static void mailbox_open(void) {
    mailbox.size = mailbox.wants_answers = mailbox.answered = 0;
    memcpy((void *)(uintptr_t)mailbox.marker, marker, AGENT_MARKER_SIZE);
}

static void mailbox_close(void) {
    memset((void *)(uintptr_t)mailbox.marker, 0, AGENT_MARKER_SIZE);
}

static bool mailbox_answer(const void *bytes, size_t size) {
    size_t answered = mailbox.answered;
    if (!mailbox.wants_answers || answered > AGENT_MAILBOX_ANSWERS ||
        size > AGENT_MAILBOX_ANSWERS - answered)
        return false;
    memcpy((void *)(uintptr_t)(mailbox.answers + answered), bytes, size);
    __atomic_store_n(&mailbox.answered, (uint32_t)(answered + size), __ATOMIC_RELEASE);
    return true;
}

/* ---- output ---- */

static void send_bytes(const void *bytes, size_t size) {
    by_mailbox = by_mailbox && mailbox_answer(bytes, size);
    if (!by_mailbox)
        port_write(bytes, size);
}

static void send_frame(uint32_t in_session, uint16_t stream, uint8_t type, const void *payload,
                       size_t size) {
    static uint8_t bytes[FRAME_HEADER_SIZE + PAYLOAD_MAX];
    frame_encode_header(bytes, in_session, stream, type, (uint32_t)size);
    if (size > 0)
        memcpy(bytes + FRAME_HEADER_SIZE, payload, size);
    send_bytes(bytes, FRAME_HEADER_SIZE + size);
}

static void send_done(uint16_t stream, int errnum, uint64_t value) {
    uint8_t payload[128];
    TlvWriter writer;
    tlv_start(&writer, payload, sizeof(payload));
    tlv_add_u64(&writer, TAG_ERRNO, (uint64_t)errnum);
    if (errnum != 0)
        tlv_add_text(&writer, TAG_TEXT, "the bare guest cannot do that");
    if (value != 0)
        tlv_add_u64(&writer, TAG_VALUE, value);
    if (frozen) /* there is nobody else */
        tlv_add_u64(&writer, TAG_EXCLUSIVE, 1);
    send_frame(session, stream, FRAME_RESULT, payload, writer.size);
}

static void announce(void) {
    uint8_t payload[128];
    TlvWriter writer;
    tlv_start(&writer, payload, sizeof(payload));
    tlv_add_u64(&writer, TAG_VERSION, AGENT_PROTOCOL_VERSION);
    tlv_add_text(&writer, TAG_AGENT_VERSION, "bare");
    send_frame(0, 0, FRAME_ANNOUNCE, payload, writer.size);
}

/* ---- the greeting ---- */

static void send_welcome(const uint8_t *nonce) {
    uint8_t payload[256];
    TlvWriter writer;
    tlv_start(&writer, payload, sizeof(payload));
    tlv_add(&writer, TAG_NONCE, nonce, AGENT_NONCE_SIZE);
    tlv_add(&writer, TAG_RAM_NONCE, ram_nonce, sizeof(ram_nonce));
    tlv_add_u64(&writer, TAG_COUNTER, self.counter);
    tlv_add_u64(&writer, TAG_VERSION, AGENT_PROTOCOL_VERSION);
    tlv_add_text(&writer, TAG_AGENT_VERSION, "bare");
    tlv_add_u64(&writer, TAG_UPTIME_USEC, clock_uptime_usec());
    tlv_add_u64(&writer, TAG_REALTIME_USEC, clock_realtime_usec());
    tlv_add_u64(&writer, TAG_INIT, 1);
    if (frozen)
        tlv_add_u64(&writer, TAG_EXCLUSIVE, 1);
    send_bytes(nonce, AGENT_NONCE_SIZE);
    send_frame(session, 0, FRAME_WELCOME, payload, writer.size);
}

/* The nonce in memory is the first greeting's, which is random. */
static void take_hello(const Frame *frame) {
    uint8_t nonce[AGENT_NONCE_SIZE] = {0};
    TlvReader fields;
    TlvField field;
    tlv_read(&fields, frame->payload, frame->length);
    while (tlv_next(&fields, &field) > 0) {
        if (field.tag == TAG_NONCE && field.size == sizeof(nonce))
            memcpy(nonce, field.data, sizeof(nonce));
        else if (field.tag == TAG_MARKER && field.size == sizeof(marker))
            memcpy(marker, field.data, sizeof(marker));
    }
    if (!greeted)
        memcpy(ram_nonce, nonce, sizeof(ram_nonce));
    greeted = true;
    expects_hello = false;
    self.counter++;
    memcpy(&session, nonce, sizeof(session));
    mailbox_close();
    send_welcome(nonce);
}

/* ---- requests ---- */

/* What of a request's fields anybody here looks at. */
typedef struct Request {
    uint64_t realtime_usec, uptime_usec, reboot;
    char *args[COMMAND_ARGS];
    size_t n_args;
} Request;

static void keep_text(const TlvField *field, char *text, size_t room) {
    if (tlv_text(field, text, room) < 0)
        text[0] = '\0';
}

static void keep_arg(const TlvField *field, Request *request) {
    static char texts[FRAME_PAYLOAD_MAX];
    static size_t used;
    used = request->n_args == 0 ? 0 : used;
    if (request->n_args == COMMAND_ARGS || tlv_text(field, texts + used, sizeof(texts) - used) < 0)
        return;
    request->args[request->n_args++] = texts + used;
    used += field->size + 1;
}

static void take_field(const TlvField *field, Request *request) {
    switch (field->tag) {
    case TAG_REALTIME_USEC:
        (void)tlv_u64(field, &request->realtime_usec);
        break;
    case TAG_UPTIME_USEC:
        (void)tlv_u64(field, &request->uptime_usec);
        break;
    case TAG_REBOOT:
        (void)tlv_u64(field, &request->reboot);
        break;
    case TAG_ARG:
        keep_arg(field, request);
        break;
    case TAG_HOSTNAME:
        keep_text(field, self.hostname, sizeof(self.hostname));
        break;
    case TAG_MACHINE_ID:
        keep_text(field, self.machine_id, sizeof(self.machine_id));
        break;
    case TAG_BOOT_ID:
        keep_text(field, self.boot_id, sizeof(self.boot_id));
        break;
    case TAG_MAC:
        if (field->size == sizeof(self.mac))
            memcpy(self.mac, field->data, sizeof(self.mac));
        break;
    case TAG_GENERATION:
        if (field->size == sizeof(self.generation))
            memcpy(self.generation, field->data, sizeof(self.generation));
        break;
    case TAG_ENTROPY:
        if (field->size == sizeof(self.entropy))
            memcpy(self.entropy, field->data, sizeof(self.entropy));
        break;
    default:
        break;
    }
}

static void set_clock(const Request *request) {
    if (request->realtime_usec)
        clock_set(request->realtime_usec,
                  request->uptime_usec ? request->uptime_usec : clock_uptime_usec());
}

static void take_exec(const Frame *frame, const Request *request) {
    static char out[COMMAND_OUT];
    uint8_t payload[16];
    TlvWriter writer;
    int status = command_run(request->n_args, request->args, out, sizeof(out));
    tlv_start(&writer, payload, sizeof(payload));
    tlv_add_u64(&writer, TAG_EXIT_CODE, (uint64_t)status);
    if (out[0])
        send_frame(session, frame->stream, FRAME_DATA, out, strlen(out));
    send_frame(session, frame->stream, FRAME_EOF, NULL, 0);
    send_frame(session, frame->stream, FRAME_EOF_ERR, NULL, 0);
    send_frame(session, frame->stream, FRAME_EXIT, payload, writer.size);
}

/* QEMU, hw/acpi/generic_event_device.c, at microvm's address: sleep control and reset. */
void end_machine(bool reboot) {
    volatile uint8_t *registers = (volatile uint8_t *)0xfea00200u;
    if (reboot)
        registers[2] = 0x42;
    else
        registers[0] = 5 << 2 | 1 << 5; /* S5, sleep enable */
    give_up("the machine does not end");
}

static void take_freeze(const Frame *frame) {
    frozen = true;
    command_frozen();
    mailbox_open();
    send_done(frame->stream, 0, (uintptr_t)&mailbox);
}

static void take_thaw(const Frame *frame) {
    frozen = false;
    mailbox_close();
    send_done(frame->stream, 0, 0);
}

static void take_request(const Frame *frame) {
    static Request request;
    TlvReader fields;
    TlvField field;
    request = (Request){0};
    tlv_read(&fields, frame->payload, frame->length);
    while (tlv_next(&fields, &field) > 0)
        take_field(&field, &request);
    switch (frame->type) {
    case FRAME_IDENTITY:
        set_clock(&request);
        return send_done(frame->stream, 0, clock_realtime_usec() - clock_uptime_usec());
    case FRAME_CLOCK:
        set_clock(&request);
        return send_done(frame->stream, 0, clock_realtime_usec());
    case FRAME_PING:
        return send_done(frame->stream, 0, clock_realtime_usec());
    case FRAME_EXEC:
        return take_exec(frame, &request);
    case FRAME_SYNC: /* nothing is held back */
    case FRAME_FS_RESIZE:
        return send_done(frame->stream, 0, 0);
    case FRAME_FREEZE:
        return take_freeze(frame);
    case FRAME_THAW:
        return take_thaw(frame);
    case FRAME_POWER_OFF:
        send_done(frame->stream, 0, 0);
        end_machine(request.reboot);
    default:
        return send_done(frame->stream, ENOSYS, 0);
    }
}

/* ---- input ---- */

static void take_frame(const Frame *frame) {
    if (expects_hello) {
        if (frame->type == FRAME_HELLO)
            take_hello(frame);
    } else if (greeted && frame->session == session && frame->stream != 0 &&
               frame->type >= FRAME_IDENTITY && frame->type < FRAME_DATA) {
        take_request(frame);
    } /* else: input of a command, which reads none, or not for us */
}

/* The longest beginning of the marker that `matched` bytes of it and then this one end with. */
static size_t match_more(uint8_t byte) {
    for (size_t length = matched + 1; length > 0; length--)
        if (marker[length - 1] == byte &&
            memcmp(marker, marker + matched + 1 - length, length - 1) == 0)
            return length;
    return 0;
}

/* How many bytes there are up to the marker's end; 0: it does not end here. */
static size_t find_marker(const uint8_t *data, size_t size) {
    for (size_t i = 0; i < size; i++) {
        matched = match_more(data[i]);
        if (matched < AGENT_MARKER_SIZE)
            continue;
        matched = 0;
        return i + 1;
    }
    return 0;
}

static void feed(const uint8_t *data, size_t size) {
    Frame frame;
    while (size > 0) {
        size_t room;
        uint8_t *space = frame_reader_space(&reader, &room);
        size_t part = size < room ? size : room;
        memcpy(space, data, part);
        frame_reader_added(&reader, part);
        while (frame_reader_next(&reader, &frame))
            take_frame(&frame);
        data += part;
        size -= part;
    }
}

static void take_bytes(const uint8_t *data, size_t size) {
    while (size > 0) {
        size_t end = find_marker(data, size), part = end ? end : size;
        feed(data, part);
        if (end) {
            frame_reader_reset(&reader);
            expects_hello = true;
        }
        data += part;
        size -= part;
    }
}

static void look_into_mailbox(void) {
    static uint8_t bytes[sizeof(mailbox.bytes)];
    size_t size = __atomic_load_n(&mailbox.size, __ATOMIC_ACQUIRE);
    if (size == 0)
        return;
    size = size < sizeof(bytes) ? size : sizeof(bytes);
    memcpy(bytes, (const void *)(uintptr_t)mailbox.bytes, size);
    mailbox.size = 0;
    mailbox_close();
    by_mailbox = true;
    take_bytes(bytes, size);
    by_mailbox = false;
}

void agent_run(void) {
    const uint8_t *data;
    size_t size;
    memcpy(marker, AGENT_MARKER, sizeof(marker));
    if (frame_reader_init(&reader) < 0)
        give_up("there is no memory for a frame");
    announce();
    for (;;) {
        if (frozen)
            look_into_mailbox();
        size = port_read(&data);
        if (size > 0)
            take_bytes(data, size);
        else
            cpu_wait(0, !frozen);
    }
}
