/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/freeze/mailbox.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "proto/agent.h"

static const uint8_t marker[AGENT_MARKER_SIZE] = "fifteen letters";

/* As a keeper finds it in the guest's memory: by the marker, though here in our own. */
static AgentMailbox *find_box(void) {
    FILE *maps = fopen("/proc/self/maps", "re");
    AgentMailbox *found = NULL;
    char line[512];
    CHECK(maps);
    while (maps && !found && fgets(line, sizeof(line), maps)) {
        uintptr_t start, end;
        if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " rw-s", &start, &end) == 2 &&
            end - start == AGENT_MAILBOX_SIZE && strstr(line, "rw-s") &&
            memcmp((void *)start, marker, sizeof(marker)) == 0)
            found = (AgentMailbox *)start;
    }
    (void)fclose(maps);
    return found;
}

static void put(const char *text) {
    AgentMailbox *box = find_box();
    CHECK(box);
    if (!box)
        return;
    memcpy(box->bytes, text, strlen(text));
    box->size = (uint32_t)strlen(text);
}

static void test_found_once(void) {
    const uint8_t *bytes = NULL;
    CHECK_INT(mailbox_wait(&bytes), 0); /* not opened yet */
    for (int i = 0; i < 2; i++) {
        uint64_t address = mailbox_open(marker);
        CHECK_INT(address % AGENT_MAILBOX_SIZE, 0);
        CHECK(address > 0 || geteuid() != 0);
        CHECK_INT(mailbox_wait(&bytes), 0);
        put("hello");
        CHECK_INT(mailbox_wait(&bytes), 5);
        CHECK(memcmp(bytes, "hello", 5) == 0);
        CHECK_INT(mailbox_wait(&bytes), 0);
        CHECK(!find_box()); /* no more mail is taken */
    }
}

static void test_closed(void) {
    const uint8_t *bytes = NULL;
    (void)mailbox_open(marker);
    put("left over");
    mailbox_close();
    CHECK(!find_box());
    (void)mailbox_open(marker);
    CHECK(find_box());
    CHECK_INT(mailbox_wait(&bytes), 0);
    mailbox_close();
}

/* Whatever the size says, no more than the page is read. */
static void test_bounded(void) {
    const uint8_t *bytes = NULL;
    (void)mailbox_open(marker);
    find_box()->size = UINT32_MAX;
    CHECK_INT(mailbox_wait(&bytes), sizeof(find_box()->bytes));
}

/* Only a keeper that looks there gets answers there, one behind the other, as far as there is room.
 */
static void test_answers(void) {
    static const uint8_t block[700];
    const uint8_t *bytes = NULL;
    (void)mailbox_open(marker);
    AgentMailbox *box = find_box();
    put("hello");
    CHECK_INT(mailbox_wait(&bytes), 5);
    CHECK_INT(mailbox_answer((const uint8_t *)"one", 3), 0);
    box->wants_answers = 1;
    CHECK_INT(mailbox_answer((const uint8_t *)"one", 3), 3);
    CHECK_INT(mailbox_answer((const uint8_t *)"two", 3), 3);
    CHECK_INT(box->answered, 6);
    CHECK(memcmp(box->answers, "onetwo", 6) == 0);
    CHECK_INT(mailbox_answer(block, sizeof(block)), sizeof(block));
    CHECK_INT(mailbox_answer(block, sizeof(block)), 0);
    CHECK_INT(box->answered, 6 + sizeof(block));
    box->answered = UINT32_MAX; /* a keeper has no business there */
    CHECK_INT(mailbox_answer(block, 1), 0);
    (void)mailbox_open(marker);
    CHECK_INT(box->answered, 0);
    CHECK_INT(mailbox_answer(block, 1), 0);
}

int main(void) {
    RUN(test_found_once);
    RUN(test_closed);
    RUN(test_bounded);
    RUN(test_answers);
    return 0;
}
