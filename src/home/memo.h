/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_HOME_MEMO_H
#define RAMET_HOME_MEMO_H

/* The last answer to a question that takes long, and always has that answer: a key made of files
 * that do not change, or whose change shows in the question. Any thread may ask. */

#include <pthread.h>
#include <stdbool.h>

#define MEMO_QUESTION_SIZE 512
#define MEMO_ANSWER_SIZE 80

typedef struct Memo {
    pthread_mutex_t mutex; /* guards the rest */
    char question[MEMO_QUESTION_SIZE];
    char answer[MEMO_ANSWER_SIZE];
} Memo;

#define MEMO_INIT \
    { .mutex = PTHREAD_MUTEX_INITIALIZER }

/* False: this was not the last question. */
bool memo_recall(Memo *memo, const char *question, char answer[MEMO_ANSWER_SIZE]);
/* A question or an answer too long for it is not kept. */
void memo_remember(Memo *memo, const char *question, const char *answer);

#endif
