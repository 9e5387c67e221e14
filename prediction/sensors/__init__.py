"""One sensor at a time: is this reading odd, where is the sensor drifting, how is it corrected."""
