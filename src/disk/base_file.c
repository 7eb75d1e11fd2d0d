/* SPDX-License-Identifier: Apache-2.0 */
#include "disk/base_file.h"
