/* SPDX-License-Identifier: Apache-2.0 */
#include "keeper/guest/agent_channel.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/json.h"
#include "base/log.h"
#include "base/str.h"
#include "keeper/guest/agent_result.h"

/* One read a round, so that a guest that floods the channel leaves the loop time for everybody
 * else. */

#define DRAIN_READS_MAX 64
#define LOSSES_LOGGED_MAX 20

/* 1: something was read; 0: nothing there; negative: the end. */
static int read_once(AgentChannel *channel) {
    size_t size;
    uint8_t *space = link_space(&channel->link, &size);
    ssize_t got = recv(channel->socket.fd, space, size, MSG_DONTWAIT);
    if (got < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -errno;
    if (got == 0)
        return -ECONNRESET;
    link_received(&channel->link, (size_t)got);
    channel->handlers->received(channel->data);
    return 1;
}

/* How many bytes went; negative: the end. */
static ssize_t write_once(AgentChannel *channel) {
    size_t size;
    const uint8_t *bytes = link_output(&channel->link, &size);
    if (size == 0)
        return 0;
    ssize_t sent = send(channel->socket.fd, bytes, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -errno;
    link_output_taken(&channel->link, (size_t)sent);
    return sent;
}

static void wait_for_room(AgentChannel *channel) {
    size_t size;
    (void)link_output(&channel->link, &size);
    if (!channel->socket.source || channel->waits_for_room == (size > 0))
        return;
    channel->waits_for_room = size > 0;
    (void)loop_set_events(channel->socket.source, EPOLLIN | (size > 0 ? EPOLLOUT : 0));
}

/* The socket's end comes with QEMU's, which the pidfd tells; here it is only not watched any more.
 */
size_t agent_channel_flush(AgentChannel *channel) {
    if (channel->socket.fd < 0)
        return 0;
    ssize_t sent = write_once(channel);
    if (sent < 0)
        watched_close(&channel->socket);
    wait_for_room(channel);
    return sent > 0 ? (size_t)sent : 0;
}

/* What the agent said in the mailbox came first. Room is used at the end of the round. */
static void on_socket(void *data, uint32_t events) {
    AgentChannel *channel = data;
    mailbox_receive(&channel->mailbox);
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) && read_once(channel) < 0)
        watched_close(&channel->socket);
}

int agent_channel_watch(AgentChannel *channel) {
    return watched_add(channel->loop, &channel->socket, EPOLLIN, on_socket, channel);
}

static void on_thawed(void *data, const Frame *frame) {
    agent_result_log_failure(frame, "cannot thaw the file systems");
}

int agent_channel_thaw(AgentChannel *channel) {
    LinkStream *stream;
    return link_open(&channel->link, FRAME_THAW, NULL, 0, on_thawed, channel, &stream);
}

void agent_channel_drain(AgentChannel *channel) {
    for (int i = 0; i < DRAIN_READS_MAX && channel->socket.fd >= 0; i++)
        if (read_once(channel) <= 0)
            break;
}

void agent_channel_close(AgentChannel *channel) {
    mailbox_stop(&channel->mailbox);
    watched_close(&channel->socket);
    link_close(&channel->link);
}

void agent_channel_free(AgentChannel *channel) {
    agent_channel_close(channel);
    link_free(&channel->link);
}

/* What the link reports */

static void on_announced(void *data) {
    AgentChannel *channel = data;
    channel->handlers->announced(channel->data);
}

static void on_welcomed(void *data, const LinkWelcome *welcome) {
    AgentChannel *channel = data;
    channel->welcome = *welcome;
    channel->handlers->welcomed(channel->data);
}

static void on_program_ended(void *data, const LinkProgram *program) {
    AgentChannel *channel = data;
    channel->program = *program;
    channel->handlers->program_ended(channel->data);
}

/* `text` is from the guest. */
static void on_failed(void *data, const char *text, size_t size) {
    AgentChannel *channel = data;
    _cleanup_json_ json_t *json = NULL;
    _cleanup_error_ Error told = ERROR_INIT;
    _cleanup_free_ char *why = NULL;
    if (json_parse("the agent's error", text, size, &json, NULL) == 0 &&
        json_to_error(json, &told) == 0)
        why = str_sanitize(told.message, strlen(told.message));
    channel->handlers->failed(channel->data, why ? why : "it does not say why");
}

/* The guest could make this happen without end: it must not fill the log. */
static void on_lost(void *data, const char *why) {
    AgentChannel *channel = data;
    if (channel->losses++ < LOSSES_LOGGED_MAX)
        log_warning("agent: %s; greeting it again", why);
}

int agent_channel_init(AgentChannel *channel, Loop *loop, const AgentChannelHandlers *handlers,
                       void *data) {
    static const LinkHandlers link_handlers = {.announced = on_announced,
                                               .welcomed = on_welcomed,
                                               .program_ended = on_program_ended,
                                               .failed = on_failed,
                                               .lost = on_lost};
    *channel = (AgentChannel){.loop = loop, .handlers = handlers, .data = data, .socket.fd = -1};
    mailbox_init(&channel->mailbox, loop, &channel->link);
    return link_init(&channel->link, &link_handlers, channel);
}
