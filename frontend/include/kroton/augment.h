// Pictures changed at random, for training.
#pragma once
