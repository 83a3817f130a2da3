// What a training writes beside its progress: tables, JSON lines, TensorBoard's events.
#pragma once
#include <kroton/callbacks.h>
