"""Files of thermal cameras: what the sensor measured, or a rendering of it in false colours."""
