/* SPDX-License-Identifier: Apache-2.0 */
#include "keeper/guest/mailbox.h"

#include <string.h>

#include "base/clock.h"
#include "base/log.h"

/* Its address is what a guest once said, so nothing but a page of that guest's own memory is read
 * or written; and only a page with the marker, which a snapshot keeps, is the mailbox. */

#define POLL_MIN_USEC 100u
#define POLL_MAX_USEC 20000u
#define POLL_WAITED_SHARE 64

void mailbox_init(Mailbox *mailbox, Loop *loop, Link *link) {
    *mailbox = (Mailbox){.loop = loop, .link = link, .ram = GUEST_RAM_INIT};
}

bool mailbox_is_open(const GuestRam *ram, uint64_t offset, const uint8_t *marker) {
    _cleanup_error_ Error missing = ERROR_INIT;
    uint8_t found[AGENT_MARKER_SIZE];
    return guest_ram_read(ram, offset + offsetof(AgentMailbox, marker), found, sizeof(found),
                          &missing) == 0 &&
           memcmp(found, marker, sizeof(found)) == 0;
}

/* The agent looks at the size all the time, so it is written last. */
static int write_greeting(Mailbox *mailbox, const GuestRam *ram, uint64_t offset, Error *error) {
    size_t size;
    const uint8_t *bytes = link_output(mailbox->link, &size);
    uint32_t number = htole32((uint32_t)size), one = htole32(1);
    int r = guest_ram_write(ram, offset + offsetof(AgentMailbox, bytes), bytes, size, error);
    if (r == 0)
        r = guest_ram_write(ram, offset + offsetof(AgentMailbox, wants_answers), &one, sizeof(one),
                            error);
    if (r == 0)
        r = guest_ram_write(ram, offset + offsetof(AgentMailbox, size), &number, sizeof(number),
                            error);
    if (r == 0)
        link_output_taken(mailbox->link, size);
    return r;
}

/* Answers. The guest can write there what it likes: each byte is read once, none beyond the page,
 * and the link holds them against its rules as if they had come through the channel. */

static bool read_answered(const Mailbox *mailbox, size_t *answered) {
    uint32_t number;
    if (guest_ram_read(&mailbox->ram, mailbox->offset + offsetof(AgentMailbox, answered), &number,
                       sizeof(number), NULL) < 0)
        return false;
    *answered = MIN_OF((size_t)le32toh(number), (size_t)AGENT_MAILBOX_ANSWERS);
    return true;
}

static bool receive_part(Mailbox *mailbox, size_t end) {
    uint64_t at = mailbox->offset + offsetof(AgentMailbox, answers) + mailbox->read_bytes;
    size_t room, size;
    uint8_t *space = link_space(mailbox->link, &room);
    size = MIN_OF(room, end - mailbox->read_bytes);
    if (size == 0 || guest_ram_read(&mailbox->ram, at, space, size, NULL) < 0)
        return false;
    mailbox->read_bytes += size;
    link_received(mailbox->link, size);
    return true;
}

void mailbox_receive(Mailbox *mailbox) {
    size_t end;
    if (!mailbox->timer || !read_answered(mailbox, &end))
        return;
    while (mailbox->read_bytes < end && receive_part(mailbox, end))
        ;
}

/* An answer is looked for more seldom the longer it takes: a guest that needs a second is not
 * served better by a poll each tenth of a millisecond. */
static uint64_t next_poll(const Mailbox *mailbox) {
    uint64_t now = clock_monotonic_usec(), waited = now - mailbox->since_usec;
    return now + MIN_OF(MAX_OF(waited / POLL_WAITED_SHARE, POLL_MIN_USEC), POLL_MAX_USEC);
}

static void on_poll(void *data) {
    Mailbox *mailbox = data;
    mailbox_receive(mailbox);
    if (mailbox->finishing)
        mailbox_stop(mailbox);
    else if (mailbox->timer)
        loop_set_timer(mailbox->timer, next_poll(mailbox));
}

int mailbox_post(Mailbox *mailbox, GuestRam *ram, uint64_t offset, const uint8_t *marker,
                 Error *error) {
    size_t size;
    (void)link_output(mailbox->link, &size);
    if (size > sizeof((AgentMailbox *)0)->bytes || !mailbox_is_open(ram, offset, marker)) {
        log_warning("the agent's mailbox is not where it was; it is greeted over the channel");
        return 0;
    }
    int r = write_greeting(mailbox, ram, offset, error);
    if (r < 0)
        return r;
    mailbox->ram = *ram;
    *ram = GUEST_RAM_INIT;
    mailbox->offset = offset;
    mailbox->since_usec = clock_monotonic_usec();
    mailbox->timer = loop_add_timer(mailbox->loop, next_poll(mailbox), on_poll, mailbox);
    return 1;
}

void mailbox_finish(Mailbox *mailbox) {
    mailbox->finishing = true;
}

void mailbox_stop(Mailbox *mailbox) {
    mailbox->timer = loop_remove(mailbox->timer);
    guest_ram_close(&mailbox->ram);
}
