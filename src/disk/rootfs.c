/* SPDX-License-Identifier: Apache-2.0 */
#include "disk/rootfs.h"
