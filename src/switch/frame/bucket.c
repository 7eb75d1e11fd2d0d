/* SPDX-License-Identifier: Apache-2.0 */
#include "switch/frame/bucket.h"

#include "base/clock.h"

#define TOKEN 1000000u
#define FULL_USEC 250000u
#define FULL_LEAST 8u /* frames */

static uint64_t most(const Bucket *bucket) {
    return MAX_OF(bucket->rate * FULL_USEC, (uint64_t)FULL_LEAST * TOKEN);
}

void bucket_set(Bucket *bucket, uint64_t rate, uint64_t now_usec) {
    *bucket = (Bucket){.rate = rate, .seen_usec = now_usec};
    bucket->credit = most(bucket);
}

bool bucket_take(Bucket *bucket, uint64_t now_usec) {
    uint64_t passed = MIN_OF(now_usec - bucket->seen_usec, (uint64_t)TOKEN * FULL_LEAST);
    if (bucket->rate == 0)
        return true;
    bucket->credit = MIN_OF(bucket->credit + passed * bucket->rate, most(bucket));
    bucket->seen_usec = now_usec;
    if (bucket->credit < TOKEN)
        return false;
    bucket->credit -= TOKEN;
    return true;
}
