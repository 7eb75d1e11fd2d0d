/* SPDX-License-Identifier: Apache-2.0 */
/* A QEMU that is none: it speaks QMP on the descriptor that it is given, and plays the guest's
 * agent. The kernel's command line says what kind of guest it is, and an exec's first argument what
 * its command does (see the tables). Everything blocks, since the keeper always reads.
 *
 * FAKE_QEMU in the environment names one step that goes wrong once: "fail:COMMAND" answers the QMP
 * command (or the agent's FREEZE and THAW: "freeze", "thaw") with an error, "die:COMMAND" ends
 * there as if killed, "hang:COMMAND" (or "identity") leaves it without an answer, and so does
 * "full:freeze" (or "identity"), since the host has no room for what the guest writes then; with
 * "full:cont" that is as soon as it goes on. Before it, "N*" lets the command succeed N times
 * first.
 *
 * "show:clock" lets the WELCOME be 200 ms on its way. The guest's clock has to be right within 45
 * ms when it is thawed, or the guest ends. "show:near" says of a clock that is right that it is,
 * and answers no CLOCK that comes soon.
 *
 * "mail:OFFSET" puts the agent's mailbox there, and takes the greeting from nowhere else. One half
 * of its answers goes back the same way, the other through the port. "junk:OFFSET" puts noise in
 * front of the answers instead, and says that there is no end of them.
 *
 * With -incoming everything that QMP has to say from the greeting to the RESUME event comes in one
 * piece, as it does when QEMU has the processor and the keeper has not. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "proto/agent.h"
#include "proto/frame.h"
#include "proto/tlv.h"

static int qmp_fd = -1, agent_fd = -1, console_fd = -1;
static const char *mode = "";
static bool incoming;
static const char *step = ""; /* of FAKE_QEMU */
static bool step_dies, step_hangs, step_fills;
static unsigned step_spared;     /* so many times it goes well */
static uint8_t *memory;          /* as QEMU maps it */
static size_t mailbox_offset;    /* 0: none, or it was found full */
static AgentMailbox *answer_box; /* NULL: answers go through the port */
static bool answers_are_junk;
static uint64_t freeze_mailbox; /* what FREEZE says of it */
static bool lacks_room;
static bool stands_still;        /* no virtual CPU runs */
static uint16_t asked_to_freeze; /* stream, while it stood still; 0: none */

static FrameReader reader;
static uint8_t marker[AGENT_MARKER_SIZE] = AGENT_MARKER;
static uint32_t session;
static uint64_t counter;
static bool greeted;
static uint16_t flooding; /* stream; 0: none */
static uint32_t flood_credit;
static uint16_t echoing;
static uint8_t echo_data[AGENT_WINDOW_BYTES + FRAME_PAYLOAD_MAX];
static size_t echo_size;
static uint32_t echo_credit;
static bool echo_end;

static void write_all(int fd, const void *data, size_t size) {
    for (const char *next = data; size > 0;) {
        ssize_t n = send(fd, next, size, MSG_NOSIGNAL);
        if (n <= 0)
            exit(0); /* the keeper is gone */
        next += n;
        size -= (size_t)n;
    }
}

/* What answers a greeting and the requests behind it goes out in one piece. */
static uint8_t answers[16384];
static size_t answers_size;
static bool gathers;

static void say_to_keeper(const void *data, size_t size) {
    if (!gathers) {
        write_all(agent_fd, data, size);
        return;
    }
    if (size > sizeof(answers) - answers_size)
        exit(1);
    memcpy(answers + answers_size, data, size);
    answers_size += size;
}

/* Returns how much of it need not go through the port. */
static size_t answer_by_mail(void) {
    AgentMailbox *box = answer_box;
    size_t size = answers_size / 2;
    answer_box = NULL;
    if (!box)
        return 0;
    if (!box->wants_answers)
        exit(4);
    memcpy(box->answers, answers, size);
    if (answers_are_junk)
        memset(box->answers, 'j', sizeof(box->answers));
    __atomic_store_n(&box->answered, answers_are_junk ? UINT32_MAX : (uint32_t)size,
                     __ATOMIC_RELEASE);
    return answers_are_junk ? 0 : size;
}

static void stop_gathering(void) {
    size_t taken = answer_by_mail();
    gathers = false;
    write_all(agent_fd, answers + taken, answers_size - taken);
    answers_size = 0;
}

static void say(int fd, const char *text) {
    write_all(fd, text, strlen(text));
}

static void send_frame(uint32_t to, uint16_t stream, uint8_t type, const void *payload,
                       size_t size) {
    uint8_t header[FRAME_HEADER_SIZE];
    frame_encode_header(header, to, stream, type, (uint32_t)size);
    say_to_keeper(header, sizeof(header));
    if (size > 0)
        say_to_keeper(payload, size);
}

static void send_number(uint16_t stream, uint8_t type, uint16_t tag, uint64_t value) {
    uint8_t payload[32];
    TlvWriter writer;
    tlv_start(&writer, payload, sizeof(payload));
    tlv_add_u64(&writer, tag, value);
    send_frame(session, stream, type, payload, writer.size);
}

/* An agent that keeps others waiting, unless it is told to fail that. */
static bool holds = true;

static void send_done(uint16_t stream, uint64_t value) {
    uint8_t payload[64];
    TlvWriter writer;
    tlv_start(&writer, payload, sizeof(payload));
    tlv_add_u64(&writer, TAG_ERRNO, 0);
    if (value)
        tlv_add_u64(&writer, TAG_VALUE, value);
    if (holds)
        tlv_add_u64(&writer, TAG_EXCLUSIVE, 1);
    else
        tlv_add_text(&writer, TAG_TEXT, "no\x1b priority");
    send_frame(session, stream, FRAME_RESULT, payload, writer.size);
}

static void announce(void) {
    uint8_t payload[32];
    TlvWriter writer;
    tlv_start(&writer, payload, sizeof(payload));
    tlv_add_u64(&writer, TAG_VERSION, AGENT_PROTOCOL_VERSION);
    send_frame(0, 0, FRAME_ANNOUNCE, payload, writer.size);
}

static void shut_down(const char *reason) {
    char event[256];
    snprintf(event, sizeof(event),
             "{\"timestamp\":{\"seconds\":1,\"microseconds\":1},\"event\":\"SHUTDOWN\","
             "\"data\":{\"guest\":true,\"reason\":\"%s\"}}\r\n",
             reason);
    say(qmp_fd, event);
    exit(0);
}

/* The script's step: does this one fail? It may not return. */
static bool goes_wrong(const char *name) {
    if (strcmp(step, name) != 0)
        return false;
    if (step_spared > 0) {
        step_spared--;
        return false;
    }
    if (step_dies)
        raise(SIGKILL);
    step = ""; /* the next one goes well */
    return true;
}

static char qmp_output[65536];
static size_t qmp_output_size;

static void put(const char *text) {
    size_t size = strlen(text);
    if (qmp_output_size + size > sizeof(qmp_output))
        exit(1);
    memcpy(qmp_output + qmp_output_size, text, size);
    qmp_output_size += size;
}

static void flush_qmp(void) {
    write_all(qmp_fd, qmp_output, qmp_output_size);
    qmp_output_size = 0;
}

static void put_event(const char *name) {
    char event[160];
    snprintf(event, sizeof(event),
             "{\"timestamp\":{\"seconds\":1,\"microseconds\":1},\"event\":\"%s\"}\r\n", name);
    put(event);
}

/* The host has no room for what the guest writes. */
static void stop_for_room(void) {
    lacks_room = stands_still = true;
    put_event("STOP");
    flush_qmp();
}

static void freeze(uint16_t stream) {
    holds = !goes_wrong("hold");
    send_done(stream, freeze_mailbox);
}

static void send_thawed(uint16_t stream) {
    holds = true;
    send_done(stream, 0);
}

static void go_on(bool has_room) {
    put_event("RESUME");
    lacks_room = stands_still = false;
    if (!has_room)
        stop_for_room();
    else if (asked_to_freeze)
        freeze(asked_to_freeze);
    asked_to_freeze = 0;
}

static void follow_up(const char *command, bool wrong) {
    if (strcmp(command, "system_powerdown") == 0) {
        flush_qmp();
        shut_down("guest-shutdown");
    }
    if (strcmp(command, "migrate-incoming") == 0)
        put_event("RESUME");
    else if (strcmp(command, "cont") == 0)
        go_on(!wrong);
    if (strcmp(command, "stop") != 0)
        return;
    put_event("STOP");
    stands_still = true;
}

/* QMP: every command succeeds, but for the script's. */
static void take_command(const char *line, const char *end) {
    char id[64] = "0", command[64] = "", answer[240];
    const char *found = strstr(line, "\"id\"");
    if (found && found < end)
        sscanf(found, "\"id\"%*[ :]%63[^,} \r\n]", id);
    found = strstr(line, "\"execute\"");
    if (found && found < end)
        sscanf(found, "\"execute\"%*[ :]\"%63[^\"]", command);
    bool wrong = goes_wrong(command);
    if (wrong && step_hangs)
        return;
    snprintf(answer, sizeof(answer),
             wrong && !step_fills
                 ? "{\"error\": {\"class\": \"GenericError\", \"desc\": \"no luck\"}, "
                   "\"id\": %s}\r\n"
             : lacks_room && strcmp(command, "query-status") == 0
                 ? "{\"return\": {\"status\": \"io-error\"}, \"id\": %s}\r\n"
                 : "{\"return\": {}, \"id\": %s}\r\n",
             id);
    put(answer);
    if (!wrong || step_fills)
        follow_up(command, wrong);
}

static void take_qmp(void) {
    static char line[65536];
    static size_t used;
    ssize_t n = read(qmp_fd, line + used, sizeof(line) - 1 - used);
    if (n <= 0)
        exit(0);
    used += (size_t)n;
    line[used] = '\0';
    for (char *end; (end = strchr(line, '\n'));) {
        take_command(line, end);
        used -= (size_t)(end + 1 - line);
        memmove(line, end + 1, used + 1);
    }
    flush_qmp();
}

static const uint8_t *find_tag(const Frame *frame, uint16_t tag, uint32_t *size) {
    TlvReader fields;
    TlvField field;
    tlv_read(&fields, frame->payload, frame->length);
    while (tlv_next(&fields, &field) > 0)
        if (field.tag == tag) {
            *size = field.size;
            return field.data;
        }
    return NULL;
}

static uint64_t host_usec(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

/* What the script says of the guest's clock; and when its uptime was 0, by the host's clock and as
 * its own clock says. */
#define LATE_USEC 200000
#define OFF_USEC 45000
#define SOON_USEC 30000
static bool clock_is_late, clock_is_near;
static uint64_t booted_usec, told_zero_usec, greeted_usec;

static bool has_clock(void) {
    return clock_is_late || clock_is_near;
}

static uint64_t uptime_usec(void) {
    return host_usec() - booted_usec;
}

static void welcome(const Frame *frame) {
    uint32_t size;
    const uint8_t *nonce = find_tag(frame, TAG_NONCE, &size);
    memcpy(marker, find_tag(frame, TAG_MARKER, &size), AGENT_MARKER_SIZE);
    session = (uint32_t)nonce[0] | (uint32_t)nonce[1] << 8 | (uint32_t)nonce[2] << 16 |
              (uint32_t)nonce[3] << 24;
    uint8_t payload[256];
    TlvWriter writer;
    tlv_start(&writer, payload, sizeof(payload));
    tlv_add(&writer, TAG_NONCE, nonce, AGENT_NONCE_SIZE);
    tlv_add(&writer, TAG_RAM_NONCE, "0123456789abcdef", 16);
    tlv_add_u64(&writer, TAG_COUNTER, ++counter);
    tlv_add_u64(&writer, TAG_VERSION, AGENT_PROTOCOL_VERSION);
    tlv_add_text(&writer, TAG_AGENT_VERSION, "fake");
    if (!goes_wrong("welcome"))
        tlv_add_u64(&writer, TAG_EXCLUSIVE, 1);
    if (has_clock())
        tlv_add_u64(&writer, TAG_UPTIME_USEC, uptime_usec());
    if (clock_is_late)
        (void)usleep(LATE_USEC);
    say_to_keeper("half a frame from before", 24);
    say_to_keeper(nonce, AGENT_NONCE_SIZE);
    send_frame(session, 0, FRAME_WELCOME, payload, writer.size);
    greeted = true;
    flooding = echoing = 0;
}

static void end_exec(uint16_t stream, uint64_t status) {
    send_frame(session, stream, FRAME_EOF, NULL, 0);
    send_frame(session, stream, FRAME_EOF_ERR, NULL, 0);
    send_number(stream, FRAME_EXIT, TAG_EXIT_CODE, status);
}

static void send_blocks(uint16_t stream, size_t count) {
    static uint8_t block[FRAME_PAYLOAD_MAX];
    for (size_t i = 0; i < count; i++)
        send_frame(session, stream, FRAME_DATA, block, sizeof(block));
}

static void break_rules(uint16_t stream) {
    send_frame(session, 999, FRAME_DATA, "x", 1);
    send_frame(session + 1, stream, FRAME_DATA, "x", 1);
    send_frame(session, stream, 200, "x", 1);
    send_frame(session, 0, FRAME_WELCOME, "x", 1);
    send_frame(session, stream, FRAME_EXIT, "not fields", 10);
    send_frame(session, stream, FRAME_EXIT, "", 0);
    send_frame(session, stream, FRAME_RESULT, "", 0);
    say(agent_fd, "RMT\1 what is that");
}

static void send_noise(void) {
    static uint8_t noise[1 << 20];
    for (size_t i = 0; i < sizeof(noise); i++)
        noise[i] = (uint8_t)(rand() & 0xff);
    write_all(agent_fd, noise, sizeof(noise));
}

static void take_exec(const Frame *frame) {
    uint32_t size;
    char word[64] = "";
    const uint8_t *text = find_tag(frame, TAG_ARG, &size);
    if (text && size < sizeof(word))
        memcpy(word, text, size);
    uint16_t stream = frame->stream;
    if (strcmp(word, "true") == 0)
        end_exec(stream, 0);
    else if (strcmp(word, "cat") == 0)
        echoing = stream, echo_credit = AGENT_WINDOW_BYTES, echo_size = 0, echo_end = false;
    else if (strcmp(word, "flood") == 0)
        flooding = stream, flood_credit = AGENT_WINDOW_BYTES;
    else if (strcmp(word, "over") == 0)
        send_blocks(stream, 64);
    else if (strcmp(word, "noise") == 0)
        send_noise();
    else if (strcmp(word, "rules") == 0)
        break_rules(stream);
    else if (strcmp(word, "window") == 0)
        send_frame(session, stream, FRAME_WINDOW, "\xff\xff\xff\xff", 4);
    else if (strcmp(word, "crash") == 0)
        raise(SIGKILL); /* sanitizers catch the others */
    else if (strcmp(word, "reboot") == 0)
        shut_down("guest-reset");
    else if (strcmp(word, "restart") == 0)
        memcpy(marker, AGENT_MARKER, sizeof(marker)), greeted = false, announce();
    else if (strcmp(word, "hang") != 0)
        end_exec(stream, 7);
}

static uint32_t window_of(const Frame *frame) {
    const uint8_t *b = frame->payload;
    return frame->length == 4
               ? (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24
               : 0;
}

/* Grants only what it has sent back, so no more than a window is ever here. */
static void pump_echo(void) {
    while (echoing && echo_size > 0 && echo_credit > 0) {
        uint32_t n = (uint32_t)(echo_size < echo_credit ? echo_size : echo_credit);
        n = n < FRAME_PAYLOAD_MAX ? n : FRAME_PAYLOAD_MAX;
        uint8_t more[4] = {(uint8_t)n, (uint8_t)(n >> 8), (uint8_t)(n >> 16), 0};
        send_frame(session, echoing, FRAME_DATA, echo_data, n);
        send_frame(session, echoing, FRAME_WINDOW, more, sizeof(more));
        echo_size -= n;
        echo_credit -= n;
        memmove(echo_data, echo_data + n, echo_size);
    }
    if (echoing && echo_end && echo_size == 0) {
        end_exec(echoing, 3);
        echoing = 0;
    }
}

static void take_stream_frame(const Frame *frame) {
    if (frame->type == FRAME_WINDOW && frame->stream == flooding)
        flood_credit += window_of(frame);
    else if (frame->type == FRAME_CANCEL && frame->stream == flooding)
        flooding = 0;
    else if (frame->type == FRAME_WINDOW && frame->stream == echoing)
        echo_credit += window_of(frame);
    else if (frame->type == FRAME_DATA && frame->stream == echoing) {
        memcpy(echo_data + echo_size, frame->payload, frame->length);
        echo_size += frame->length;
    } else if (frame->type == FRAME_EOF && frame->stream == echoing) {
        echo_end = true;
    }
    pump_echo();
}

static void read_clock(const Frame *frame, uint64_t *realtime, uint64_t *uptime) {
    TlvReader fields;
    TlvField field;
    tlv_read(&fields, frame->payload, frame->length);
    while (tlv_next(&fields, &field) > 0)
        if (field.tag == TAG_REALTIME_USEC)
            (void)tlv_u64(&field, realtime);
        else if (field.tag == TAG_UPTIME_USEC)
            (void)tlv_u64(&field, uptime);
}

static void set_clock(const Frame *frame) {
    uint64_t realtime = 0, uptime = uptime_usec();
    read_clock(frame, &realtime, &uptime);
    told_zero_usec = realtime - uptime;
}

static bool clock_is_right(void) {
    uint64_t off =
        told_zero_usec > booted_usec ? told_zero_usec - booted_usec : booted_usec - told_zero_usec;
    return off <= OFF_USEC;
}

static void take_identity(const Frame *frame) {
    set_clock(frame);
    greeted_usec = told_zero_usec + uptime_usec();
    send_done(frame->stream, told_zero_usec);
}

/* On a host that is slow the keeper cannot know that the clock is right. */
static void take_clock(const Frame *frame) {
    if (!has_clock())
        return send_number(frame->stream, FRAME_RESULT, TAG_ERRNO, 0);
    if (clock_is_near && host_usec() - greeted_usec < SOON_USEC)
        return;
    set_clock(frame);
    send_number(frame->stream, FRAME_RESULT, TAG_VALUE, told_zero_usec + uptime_usec());
}

static void take_frame(const Frame *frame) {
    switch (frame->type) {
    case FRAME_HELLO:
        return welcome(frame);
    case FRAME_POWER_OFF:
        if (strcmp(mode, "deaf") != 0)
            shut_down("guest-shutdown");
        return;
    case FRAME_EXEC:
        return take_exec(frame);
    case FRAME_IDENTITY:
        if (strcmp(mode, "refuse") == 0)
            return send_number(frame->stream, FRAME_RESULT, TAG_ERRNO, EROFS);
        if (has_clock())
            return take_identity(frame);
        if (goes_wrong("identity"))
            return step_hangs ? (void)0 : stop_for_room();
        holds = !goes_wrong("hold");
        return send_done(frame->stream, 0);
    case FRAME_FREEZE:
    case FRAME_THAW:
        if (frame->type == FRAME_THAW && clock_is_late && !clock_is_right())
            exit(3);
        if (goes_wrong(frame->type == FRAME_FREEZE ? "freeze" : "thaw"))
            return step_fills   ? stop_for_room()
                   : step_hangs ? (void)0
                                : send_number(frame->stream, FRAME_RESULT, TAG_ERRNO, EIO);
        if (frame->type == FRAME_FREEZE && stands_still)
            asked_to_freeze = frame->stream;
        else if (frame->type == FRAME_FREEZE)
            freeze(frame->stream);
        else
            send_thawed(frame->stream);
        return;
    case FRAME_SYNC:
        if (strcmp(mode, "full") == 0)
            stop_for_room();
        return send_number(frame->stream, FRAME_RESULT, TAG_ERRNO, 0);
    case FRAME_PING:
        return send_number(frame->stream, FRAME_RESULT, TAG_ERRNO, 0);
    case FRAME_CLOCK:
        return take_clock(frame);
    default:
        return take_stream_frame(frame);
    }
}

/* Looks for the marker in whole reads: the keeper writes greetings in one piece. */
static void take_bytes(uint8_t *space, ssize_t n) {
    uint8_t *found = memmem(space, (size_t)n, marker, AGENT_MARKER_SIZE);
    if (found) {
        frame_reader_reset(&reader);
        n -= found + AGENT_MARKER_SIZE - space;
        memmove(reader.buffer, found + AGENT_MARKER_SIZE, (size_t)n);
    }
    frame_reader_added(&reader, (size_t)n);
    Frame frame;
    gathers = found != NULL;
    while (frame_reader_next(&reader, &frame) > 0)
        take_frame(&frame);
    stop_gathering();
}

static void take_agent(void) {
    size_t size;
    uint8_t *space = frame_reader_space(&reader, &size);
    ssize_t n = read(agent_fd, space, size);
    if (n <= 0 || mailbox_offset)
        exit(0);
    take_bytes(space, n);
}

static void look_into_mailbox(void) {
    const volatile AgentMailbox *box = (const volatile void *)(memory + mailbox_offset);
    size_t room, size = mailbox_offset ? box->size : 0;
    if (size == 0)
        return;
    uint8_t *space = frame_reader_space(&reader, &room);
    memcpy(space, memory + mailbox_offset + offsetof(AgentMailbox, bytes), size);
    answer_box = (AgentMailbox *)(void *)(memory + mailbox_offset);
    mailbox_offset = 0;
    take_bytes(space, (ssize_t)size);
}

static void flood(void) {
    static uint8_t block[8192];
    if (flooding && flood_credit >= sizeof(block)) {
        send_frame(session, flooding, FRAME_DATA, block, sizeof(block));
        flood_credit -= sizeof(block);
    }
    if (strcmp(mode, "flood") == 0 && greeted) {
        static unsigned line;
        for (int i = 0; i < 100; i++) {
            char text[64];
            snprintf(text, sizeof(text), "line %u of a very talkative guest\r\n", line++);
            say(console_fd, text);
        }
        if (greeted)
            send_frame(session, 4242, FRAME_DATA, block, sizeof(block));
    }
}

static bool busy(void) {
    return (strcmp(mode, "flood") == 0 && greeted) || (flooding && flood_credit >= 8192);
}

static int poll_timeout(void) {
    return busy() ? 0 : mailbox_offset ? 1 : -1;
}

static void run(void) {
    for (;;) {
        struct pollfd items[] = {{.fd = qmp_fd, .events = POLLIN},
                                 {.fd = agent_fd, .events = POLLIN}};
        if (poll(items, 2, poll_timeout()) < 0)
            exit(1);
        look_into_mailbox();
        if (items[0].revents)
            take_qmp();
        if (items[1].revents)
            take_agent();
        flood();
    }
}

static void map_memory(int fd, size_t mib) {
    size_t size = mib << 20;
    memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    if (memory == MAP_FAILED)
        exit(1);
    memset(memory + size / 2, 7, 10 * 4096); /* what the guest wrote */
    if (mailbox_offset)
        memcpy(memory + mailbox_offset, marker, AGENT_MARKER_SIZE);
}

static void parse_script(void) {
    const char *script = getenv("FAKE_QEMU");
    char *end = NULL;
    if (!script)
        return;
    step_spared = (unsigned)strtoul(script, &end, 10);
    step = *end == '*' ? end + 1 : end;
    step_dies = strncmp(step, "die:", 4) == 0;
    step_hangs = strncmp(step, "hang:", 5) == 0;
    step_fills = strncmp(step, "full:", 5) == 0;
    step = strchr(step, ':') ? strchr(step, ':') + 1 : "";
    booted_usec = host_usec() - 1000000;
    clock_is_late = strcmp(script, "show:clock") == 0;
    clock_is_near = strcmp(script, "show:near") == 0;
    answers_are_junk = strncmp(script, "junk:", 5) == 0;
    if (strcmp(script, "shut:mailbox") == 0)
        freeze_mailbox = 1 << 20; /* where no marker is */
    if (strncmp(script, "mail:", 5) == 0 || answers_are_junk)
        mailbox_offset = strtoul(step, NULL, 10);
}

static void parse(int argc, char **argv) {
    size_t mib;
    for (int i = 1; i + 1 < argc; i++) {
        int fd;
        if (sscanf(argv[i + 1], "memory-backend-file,id=ram0,size=%zuM,mem-path=/proc/self/fd/%d",
                   &mib, &fd) == 2)
            map_memory(fd, mib);
        incoming |= strcmp(argv[i], "-incoming") == 0;
        if (sscanf(argv[i + 1], "socket,id=qmp,fd=%d", &fd) == 1)
            qmp_fd = fd;
        else if (sscanf(argv[i + 1], "socket,id=agent,fd=%d", &fd) == 1)
            agent_fd = fd;
        else if (sscanf(argv[i + 1], "socket,id=console,fd=%d", &fd) == 1)
            console_fd = fd;
        else if (strcmp(argv[i], "-append") == 0)
            mode = argv[i + 1];
    }
}

/* The virtual CPU of a guest that hangs before it says anything. */
static void *spin(void *data) {
    for (volatile unsigned turns = 0;; turns++)
        ;
    return data;
}

int main(int argc, char **argv) {
    pthread_t spinning;
    parse_script();
    parse(argc, argv);
    if (strcmp(mode, "die") == 0 || qmp_fd < 0 || agent_fd < 0 || console_fd < 0) {
        fprintf(stderr, "fake-qemu: could not open the flux capacitor\n");
        return 1;
    }
    put("{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 2, \"minor\": 7, \"major\": 0}}, "
        "\"capabilities\": []}}\r\n");
    if (!incoming) { /* else with the first replies */
        flush_qmp();
    }
    if (strcmp(mode, "spin") == 0) {
        (void)pthread_create(&spinning, NULL, spin, NULL);
        mode = "silent";
    }
    if (strcmp(mode, "silent") != 0)
        say(console_fd, "Booting \x1b[31mfake\r\nstill booting\r\n");
    if (frame_reader_init(&reader) < 0)
        return 1;
    if (strcmp(mode, "error") == 0) {
        const char *text = "{\"error\":{\"code\":\"failed\",\"message\":\"no root disk\\u0007\"}}";
        send_frame(0, 0, FRAME_ERROR, text, strlen(text));
    } else if (!incoming && strcmp(mode, "silent") != 0 && strcmp(mode, "mute") != 0) {
        say(agent_fd, "noise before the first frame");
        announce();
    }
    run();
}
