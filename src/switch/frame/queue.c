/* SPDX-License-Identifier: Apache-2.0 */
#include "switch/frame/queue.h"

#include <string.h>

void queue_init(Queue *queue) {
    memset(queue, 0, sizeof(*queue));
    for (size_t i = 0; i < QUEUE_MAX; i++)
        queue->next[i] = (uint8_t)(i + 1);
}

static Buffer *take_from(Queue *queue, QueueGroup *group) {
    uint8_t place = group->head;
    group->head = queue->next[place];
    group->count--;
    queue->next[place] = queue->free;
    queue->free = place;
    queue->count--;
    return queue->buffers[place];
}

static void add_to(Queue *queue, QueueGroup *group, Buffer *buffer) {
    uint8_t place = queue->free;
    queue->free = queue->next[place];
    queue->buffers[place] = buffer;
    if (group->count++ == 0)
        group->head = place;
    else
        queue->next[group->tail] = place;
    group->tail = place;
    queue->count++;
}

static QueueGroup *longest(Queue *queue) {
    QueueGroup *found = &queue->groups[0];
    for (size_t i = 1; i < QUEUE_GROUPS; i++)
        if (queue->groups[i].count > found->count)
            found = &queue->groups[i];
    return found;
}

Buffer *queue_add(Queue *queue, Buffer *buffer) {
    QueueGroup *group = &queue->groups[buffer->source % QUEUE_GROUPS];
    Buffer *dropped = NULL;
    if (queue->count == QUEUE_MAX) {
        QueueGroup *victim = longest(queue);
        if (victim->count <= group->count)
            return buffer;
        dropped = take_from(queue, victim);
    }
    add_to(queue, group, buffer);
    return dropped;
}

Buffer *queue_take(Queue *queue) {
    if (queue->count == 0)
        return NULL;
    while (queue->groups[queue->turn].count == 0)
        queue->turn = (uint8_t)((queue->turn + 1) % QUEUE_GROUPS);
    QueueGroup *group = &queue->groups[queue->turn];
    queue->turn = (uint8_t)((queue->turn + 1) % QUEUE_GROUPS);
    return take_from(queue, group);
}
