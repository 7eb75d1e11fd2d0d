/* SPDX-License-Identifier: Apache-2.0 */
#include "keeper_side.h"

static Output run(const char *script) {
    Peer peer;
    peer_start(&peer);
    peer_greet(&peer);
    uint16_t stream = peer_exec(&peer, script, false);
    peer_send(&peer, stream, FRAME_EOF, NULL, 0);
    Output output = peer_finish(&peer, stream);
    CHECK_INT(output.last, FRAME_EXIT);
    peer_stop(&peer);
    return output;
}

static void test_exit_codes(void) {
    CHECK_INT(run("true").code, 0);
    CHECK_INT(run("exit 42").code, 42);
    CHECK_INT(run("kill -TERM $$").code, 128 + SIGTERM);
    CHECK_INT(run("kill -KILL $$").code, 128 + SIGKILL);
}

static void test_outputs_and_environment(void) {
    Output output =
        run("echo $GREETING; echo bad >&2; pwd; test -n \"$HOME\" && test -n \"$PATH\"");
    CHECK_INT(output.code, 0);
    CHECK_STR(output.out, "hello\n/\n");
    CHECK_STR(output.err, "bad\n");
}

/* A child that is left behind holds the pipes open; the command has ended all the same. */
static void test_background_child(void) {
    Output output = run("echo before; sleep 1000 & echo $!");
    CHECK_INT(output.code, 0);
    CHECK_CONTAINS(output.out, "before\n");
    (void)kill(atoi(output.out + strlen("before\n")), SIGKILL);
}

static void test_all_output_comes_before_exit(void) {
    Output output = run("head -c 200000 /dev/zero; head -c 60000 /dev/zero >&2");
    CHECK_INT(output.n_out, 200000);
    CHECK_INT(output.n_err, 60000);
}

static Output run_fields(uint16_t tag, const char *value, const char *program) {
    uint8_t payload[512];
    TlvWriter writer;
    Peer peer;
    peer_start(&peer);
    peer_greet(&peer);
    tlv_start(&writer, payload, sizeof(payload));
    tlv_add_text(&writer, TAG_ARG, program);
    if (value)
        tlv_add_text(&writer, tag, value);
    peer_send(&peer, 5, FRAME_EXEC, payload, writer.size);
    Output output = peer_finish(&peer, 5);
    peer_stop(&peer);
    return output;
}

static void test_what_cannot_be_started(void) {
    Output output = run_fields(0, NULL, "no-such-command");
    CHECK_INT(output.code, 127);
    CHECK_STR(output.err, "ramet: exec: no-such-command: not found\n");
    CHECK_INT(run_fields(0, NULL, "/no/such/file").code, 127);
    output = run_fields(0, NULL, "/etc/passwd");
    CHECK_INT(output.code, 126);
    CHECK_CONTAINS(output.err, "/etc/passwd: Permission denied");
    output = run_fields(TAG_DIRECTORY, "/no/such", "true");
    CHECK_INT(output.code, 126);
    CHECK_CONTAINS(output.err, "/no/such");
    output = run_fields(TAG_USER, "no-such-user", "true");
    CHECK_INT(output.last, FRAME_RESULT);
    CHECK_INT(output.code, ENOENT);
}

static void test_directory_and_user(void) {
    CHECK_STR(run_fields(TAG_DIRECTORY, "/usr", "pwd").out, "/usr\n");
    if (geteuid() != 0)
        return; /* only root may become somebody else */
    CHECK_STR(run_fields(TAG_USER, "nobody", "whoami").out, "nobody\n");
    CHECK_CONTAINS(run_fields(TAG_USER, "12345:54321", "id").out, "uid=12345 gid=54321");
}

static void test_signals_reach_the_group(void) {
    Peer peer;
    peer_start(&peer);
    peer_greet(&peer);
    uint16_t stream = peer_exec(
        &peer, "trap 'echo caught; exit 7' USR1; echo ready; while :; do sleep 0.1; done", false);
    CHECK_INT(peer_next(&peer).type, FRAME_DATA);
    peer_send_u64(&peer, stream, FRAME_SIGNAL, TAG_SIGNAL, SIGUSR1);
    Output output = peer_finish(&peer, stream);
    CHECK_INT(output.code, 7);
    CHECK_STR(output.out, "caught\n");
    peer_stop(&peer);
}

static void test_cancel_ends_even_the_deaf(void) {
    Peer peer;
    peer_start(&peer);
    peer_greet(&peer);
    uint16_t stream =
        peer_exec(&peer, "trap '' HUP TERM; echo $$; while :; do sleep 1000; done", false);
    Frame frame = peer_next(&peer);
    char script[100];
    (void)snprintf(script, sizeof(script), "while kill -0 %d 2>/dev/null; do sleep 0.1; done",
                   atoi((const char *)frame.payload));
    peer_send(&peer, stream, FRAME_CANCEL, NULL, 0);
    CHECK_INT(peer_finish(&peer, peer_exec(&peer, script, false)).code, 0);
    peer_stop(&peer);
}

static void test_terminal(void) {
    Peer peer;
    peer_start(&peer);
    peer_greet(&peer);
    uint16_t stream = peer_exec(
        &peer, "tty -s && stty size; echo $TERM; read -r line; echo got $line; stty size", true);
    Frame frame;
    char text[1024] = "";
    while (!strstr(text, "xterm\r\n")) {
        frame = peer_next(&peer);
        CHECK_INT(frame.type, FRAME_DATA);
        strncat(text, (const char *)frame.payload, frame.length);
    }
    CHECK_CONTAINS(text, "33 101");
    uint8_t payload[64];
    TlvWriter writer;
    tlv_start(&writer, payload, sizeof(payload));
    tlv_add_u64(&writer, TAG_ROWS, 44);
    tlv_add_u64(&writer, TAG_COLUMNS, 55);
    peer_send(&peer, stream, FRAME_TTY_RESIZE, payload, writer.size);
    peer_send(&peer, stream, FRAME_DATA, "line\n", 5);
    Output output = peer_finish(&peer, stream);
    CHECK_INT(output.code, 0);
    CHECK_CONTAINS(output.out, "got line\r\n44 55\r\n");
    CHECK_INT(output.n_err, 0);
    peer_stop(&peer);
}

static void test_terminal_interrupt_and_end_of_input(void) {
    Peer peer;
    peer_start(&peer);
    peer_greet(&peer);
    uint16_t stream = peer_exec(&peer, "echo ready; exec cat", true);
    CHECK_INT(peer_next(&peer).type, FRAME_DATA);
    peer_send(&peer, stream, FRAME_DATA, "\x03", 1);
    CHECK_INT(peer_finish(&peer, stream).code, 128 + SIGINT);

    stream = peer_exec(&peer, "cat; echo over", true);
    peer_send(&peer, stream, FRAME_DATA, "x\n", 2);
    peer_send(&peer, stream, FRAME_EOF, NULL, 0);
    Output output = peer_finish(&peer, stream);
    CHECK_INT(output.code, 0);
    CHECK_CONTAINS(output.out, "over\r\n");
    peer_stop(&peer);
}

int main(void) {
    RUN(test_exit_codes);
    RUN(test_outputs_and_environment);
    RUN(test_background_child);
    RUN(test_all_output_comes_before_exit);
    if (!VFORK_IS_FORK)
        RUN(test_what_cannot_be_started);
    RUN(test_directory_and_user);
    RUN(test_signals_reach_the_group);
    RUN(test_cancel_ends_even_the_deaf);
    RUN(test_terminal);
    RUN(test_terminal_interrupt_and_end_of_input);
    return 0;
}
