BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('v3.2.0.a');
CREATE TABLE studies (
	study_id INTEGER NOT NULL, 
	study_name VARCHAR(512) NOT NULL, 
	PRIMARY KEY (study_id)
);
INSERT INTO "studies" VALUES(1,'search');
INSERT INTO "studies" VALUES(2,'race');
INSERT INTO "studies" VALUES(3,'confirmation');
INSERT INTO "studies" VALUES(4,'recording');
CREATE TABLE study_directions (
	study_direction_id INTEGER NOT NULL, 
	direction VARCHAR(8) NOT NULL, 
	study_id INTEGER NOT NULL, 
	objective INTEGER NOT NULL, 
	PRIMARY KEY (study_direction_id), 
	UNIQUE (study_id, objective), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "study_directions" VALUES(1,'MAXIMIZE',1,0);
INSERT INTO "study_directions" VALUES(2,'MAXIMIZE',2,0);
INSERT INTO "study_directions" VALUES(3,'MAXIMIZE',3,0);
INSERT INTO "study_directions" VALUES(4,'MAXIMIZE',4,0);
CREATE TABLE study_system_attributes (
	study_system_attribute_id INTEGER NOT NULL, 
	study_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (study_system_attribute_id), 
	UNIQUE (study_id, "key"), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
CREATE TABLE study_user_attributes (
	study_user_attribute_id INTEGER NOT NULL, 
	study_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (study_user_attribute_id), 
	UNIQUE (study_id, "key"), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "study_user_attributes" VALUES(1,1,'schema_version','1');
INSERT INTO "study_user_attributes" VALUES(2,1,'identity','{"task": "cola", "seed": 3, "space": {"method": ["dps-dense", "vanilla"], "learning_rate": {"kind": "range", "low": 3e-05, "high": 0.0005, "log": true}, "selection_ratio": {"kind": "range", "low": 0.2, "high": 0.9, "log": false}, "update_ratio": {"kind": "range", "low": 0.05, "high": 0.25, "log": true}}, "train_size": null}');
INSERT INTO "study_user_attributes" VALUES(3,1,'search_id','"0123456789abcdef"');
INSERT INTO "study_user_attributes" VALUES(4,1,'seconds','12.5');
INSERT INTO "study_user_attributes" VALUES(5,1,'git_dirty','false');
CREATE TABLE trial_heartbeats (
	trial_heartbeat_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	heartbeat DATETIME NOT NULL, 
	PRIMARY KEY (trial_heartbeat_id), 
	UNIQUE (trial_id), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
CREATE TABLE trial_intermediate_values (
	trial_intermediate_value_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	step INTEGER NOT NULL, 
	intermediate_value FLOAT, 
	intermediate_value_type VARCHAR(7) NOT NULL, 
	PRIMARY KEY (trial_intermediate_value_id), 
	UNIQUE (trial_id, step), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_intermediate_values" VALUES(1,1,20,0.1,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(2,1,40,0.2,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(3,2,20,0.1,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(4,2,40,0.2,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(5,3,20,0.1,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(6,3,40,0.2,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(7,4,20,0.25,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(8,5,20,0.1,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(9,5,40,0.2,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(10,6,20,0.1,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(11,6,40,0.2,'FINITE');
CREATE TABLE trial_params (
	param_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	param_name VARCHAR(512), 
	param_value FLOAT, 
	distribution_json TEXT, 
	PRIMARY KEY (param_id), 
	UNIQUE (trial_id, param_name), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_params" VALUES(1,1,'method',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["dps-dense", "vanilla"]}}');
INSERT INTO "trial_params" VALUES(2,1,'learning_rate',1.02989043802721906366e-04,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 3e-05, "high": 0.0005, "log": true}}');
INSERT INTO "trial_params" VALUES(3,2,'method',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["dps-dense", "vanilla"]}}');
INSERT INTO "trial_params" VALUES(4,2,'learning_rate',0.000136484005837208,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 3e-05, "high": 0.0005, "log": true}}');
INSERT INTO "trial_params" VALUES(5,3,'method',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["dps-dense", "vanilla"]}}');
INSERT INTO "trial_params" VALUES(6,3,'learning_rate',6.38429706678669828257e-05,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 3e-05, "high": 0.0005, "log": true}}');
INSERT INTO "trial_params" VALUES(7,3,'selection_ratio',5.49917750577891939478e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.2, "high": 0.9, "log": false}}');
INSERT INTO "trial_params" VALUES(8,3,'update_ratio',1.49187143195934318606e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.05, "high": 0.25, "log": true}}');
INSERT INTO "trial_params" VALUES(9,4,'method',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["dps-dense", "vanilla"]}}');
INSERT INTO "trial_params" VALUES(10,4,'learning_rate',3.61148235847385748334e-05,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 3e-05, "high": 0.0005, "log": true}}');
INSERT INTO "trial_params" VALUES(11,4,'selection_ratio',4.01701919515595473608e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.2, "high": 0.9, "log": false}}');
INSERT INTO "trial_params" VALUES(12,4,'update_ratio',2.16146693520623711659e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.05, "high": 0.25, "log": true}}');
INSERT INTO "trial_params" VALUES(13,5,'method',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["dps-dense", "vanilla"]}}');
INSERT INTO "trial_params" VALUES(14,5,'learning_rate',1.02989043802721906366e-04,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 3e-05, "high": 0.0005, "log": true}}');
INSERT INTO "trial_params" VALUES(15,6,'method',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["dps-dense", "vanilla"]}}');
INSERT INTO "trial_params" VALUES(16,6,'learning_rate',1.02989043802721906366e-04,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 3e-05, "high": 0.0005, "log": true}}');
CREATE TABLE trial_system_attributes (
	trial_system_attribute_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (trial_system_attribute_id), 
	UNIQUE (trial_id, "key"), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_system_attributes" VALUES(1,5,'fixed_params','{"method": "vanilla", "learning_rate": 0.0001029890438027219}');
INSERT INTO "trial_system_attributes" VALUES(2,6,'fixed_params','{"method": "vanilla", "learning_rate": 0.0001029890438027219}');
CREATE TABLE trial_user_attributes (
	trial_user_attribute_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (trial_user_attribute_id), 
	UNIQUE (trial_id, "key"), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_user_attributes" VALUES(1,1,'seed','3');
INSERT INTO "trial_user_attributes" VALUES(2,1,'configuration','{"method": "vanilla", "learning_rate": 0.0001029890438027219}');
INSERT INTO "trial_user_attributes" VALUES(3,1,'outcome','"completed"');
INSERT INTO "trial_user_attributes" VALUES(4,1,'seconds','4.5');
INSERT INTO "trial_user_attributes" VALUES(5,1,'slot','"a"');
INSERT INTO "trial_user_attributes" VALUES(6,1,'began','1764115200.0');
INSERT INTO "trial_user_attributes" VALUES(7,1,'covered','"13 weights"');
INSERT INTO "trial_user_attributes" VALUES(8,1,'selected_share','0.7');
INSERT INTO "trial_user_attributes" VALUES(9,1,'passes','60.0');
INSERT INTO "trial_user_attributes" VALUES(10,1,'peak_memory','1048576');
INSERT INTO "trial_user_attributes" VALUES(11,2,'seed','3');
INSERT INTO "trial_user_attributes" VALUES(12,2,'configuration','{"method": "vanilla", "learning_rate": 0.000136484005837208}');
INSERT INTO "trial_user_attributes" VALUES(13,2,'outcome','"stopped"');
INSERT INTO "trial_user_attributes" VALUES(14,2,'seconds','4.5');
INSERT INTO "trial_user_attributes" VALUES(15,2,'slot','"a"');
INSERT INTO "trial_user_attributes" VALUES(16,2,'began','1764115200.0');
INSERT INTO "trial_user_attributes" VALUES(17,3,'seed','3');
INSERT INTO "trial_user_attributes" VALUES(18,3,'configuration','{"method": "dps-dense", "learning_rate": 6.384297066786698e-05, "selection_ratio": 0.5499177505778919, "update_ratio": 0.14918714319593432}');
INSERT INTO "trial_user_attributes" VALUES(19,3,'outcome','"failed"');
INSERT INTO "trial_user_attributes" VALUES(20,3,'seconds','4.5');
INSERT INTO "trial_user_attributes" VALUES(21,3,'slot','"a"');
INSERT INTO "trial_user_attributes" VALUES(22,3,'began','1764115200.0');
INSERT INTO "trial_user_attributes" VALUES(23,3,'warnings','["slow"]');
INSERT INTO "trial_user_attributes" VALUES(24,3,'error','"RuntimeError: no (x.py:3)"');
INSERT INTO "trial_user_attributes" VALUES(25,4,'seed','3');
INSERT INTO "trial_user_attributes" VALUES(26,4,'configuration','{"method": "dps-dense", "learning_rate": 3.6114823584738575e-05, "selection_ratio": 0.4017019195155955, "update_ratio": 0.2161466935206237}');
INSERT INTO "trial_user_attributes" VALUES(27,5,'seed','4');
INSERT INTO "trial_user_attributes" VALUES(28,5,'configuration','{"method": "vanilla", "learning_rate": 0.0001029890438027219}');
INSERT INTO "trial_user_attributes" VALUES(29,5,'outcome','"completed"');
INSERT INTO "trial_user_attributes" VALUES(30,5,'seconds','4.5');
INSERT INTO "trial_user_attributes" VALUES(31,5,'slot','"a"');
INSERT INTO "trial_user_attributes" VALUES(32,5,'began','1764115200.0');
INSERT INTO "trial_user_attributes" VALUES(33,6,'seed','5');
INSERT INTO "trial_user_attributes" VALUES(34,6,'configuration','{"method": "vanilla", "learning_rate": 0.0001029890438027219}');
INSERT INTO "trial_user_attributes" VALUES(35,6,'outcome','"completed"');
INSERT INTO "trial_user_attributes" VALUES(36,6,'seconds','4.5');
INSERT INTO "trial_user_attributes" VALUES(37,6,'slot','"a"');
INSERT INTO "trial_user_attributes" VALUES(38,6,'began','1764115200.0');
INSERT INTO "trial_user_attributes" VALUES(39,6,'final','{"dev": {"matthews_correlation": 0.6}}');
CREATE TABLE trial_values (
	trial_value_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	objective INTEGER NOT NULL, 
	value FLOAT, 
	value_type VARCHAR(7) NOT NULL, 
	PRIMARY KEY (trial_value_id), 
	UNIQUE (trial_id, objective), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_values" VALUES(1,1,0,0.5,'FINITE');
INSERT INTO "trial_values" VALUES(2,2,0,0.2,'FINITE');
INSERT INTO "trial_values" VALUES(3,5,0,0.45,'FINITE');
INSERT INTO "trial_values" VALUES(4,6,0,0.6,'FINITE');
CREATE TABLE trials (
	trial_id INTEGER NOT NULL, 
	number INTEGER, 
	study_id INTEGER, 
	state VARCHAR(8) NOT NULL, 
	datetime_start DATETIME, 
	datetime_complete DATETIME, 
	PRIMARY KEY (trial_id), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "trials" VALUES(1,0,1,'COMPLETE','2026-11-26 02:31:13.816277','2026-11-26 02:31:16.062354');
INSERT INTO "trials" VALUES(2,1,1,'PRUNED','2026-11-26 02:31:16.095344','2026-11-26 02:31:16.457881');
INSERT INTO "trials" VALUES(3,2,1,'FAIL','2026-11-26 02:31:16.540268','2026-11-26 02:31:17.549476');
INSERT INTO "trials" VALUES(4,3,1,'RUNNING','2026-11-26 02:31:18.311073',NULL);
INSERT INTO "trials" VALUES(5,0,2,'COMPLETE','2026-11-26 02:31:19.477031','2026-11-26 02:31:19.979461');
INSERT INTO "trials" VALUES(6,0,3,'COMPLETE','2026-11-26 02:31:20.279131','2026-11-26 02:31:21.263949');
CREATE TABLE version_info (
	version_info_id INTEGER NOT NULL, 
	schema_version INTEGER, 
	library_version VARCHAR(256), 
	PRIMARY KEY (version_info_id), 
	CHECK (version_info_id=1)
);
INSERT INTO "version_info" VALUES(1,12,'5.0.0');
CREATE UNIQUE INDEX ix_studies_study_name ON studies (study_name);
CREATE INDEX ix_trials_study_id ON trials (study_id);
COMMIT;
