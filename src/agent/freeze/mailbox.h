/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_AGENT_FREEZE_MAILBOX_H
#define RAMET_AGENT_FREEZE_MAILBOX_H

/* A page of the agent's memory in which a clone finds its greeting and its identity: the keeper
 * writes them there while QEMU starts. A message that comes over the port costs an emulated guest
 * an interrupt and a system call more, all of them code that it has to translate first. The page is
 * AGENT_MAILBOX_SIZE bytes, laid out as proto/agent.h says. */

#include <stddef.h>
#include <stdint.h>

/* Empties it, both ways, and opens it for what follows the marker that is listened for. Returns
 * where it lies in the guest's physical memory, which only root can find out; 0: there is none. */
uint64_t mailbox_open(const uint8_t *marker);

/* Nothing is to be put into it any more. */
void mailbox_close(void);

/* Looks into it for some microseconds. Returns how many bytes there are, which stay until the next
 * mailbox_open; 0: none yet. What was found is found once. */
size_t mailbox_wait(const uint8_t **bytes);

/* Puts an answer to what was found into it, for the keeper to fetch. Returns size, or 0 when the
 * keeper does not look there or there is no room for all of it. */
size_t mailbox_answer(const uint8_t *bytes, size_t size);

#endif
