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
INSERT INTO "study_user_attributes" VALUES(2,1,'identity','{"task": "stsb", "data": "ffb95054c59881910c84b5e34d814fb895dcf82689cca17177d032996f8f8a5a", "model": "9a4bd86ecd66aa95", "space": {"method": ["dps-dense"], "learning_rate": {"kind": "range", "low": 3e-05, "high": 0.0005, "log": true}, "selection_ratio": {"kind": "range", "low": 0.2, "high": 0.9, "log": false}, "update_ratio": {"kind": "range", "low": 0.15, "high": 0.25, "log": true}}, "max_steps": 20, "seed": 0, "scheduler": "asha", "sampler": "tpe", "batch_size": 16, "epochs": 3.0, "max_length": 128, "evaluations": 6, "train_size": null, "select_on": "holdout", "precision": "fp32", "transfer": null, "probe": null}');
INSERT INTO "study_user_attributes" VALUES(3,1,'git_dirty','false');
INSERT INTO "study_user_attributes" VALUES(4,1,'precision','"fp32"');
INSERT INTO "study_user_attributes" VALUES(5,1,'search_id','"159edcc3902d4d919e8a7176ea2cfe93"');
INSERT INTO "study_user_attributes" VALUES(6,1,'warm_start','[[], []]');
INSERT INTO "study_user_attributes" VALUES(7,1,'seconds','25.403834951999897');
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
INSERT INTO "trial_intermediate_values" VALUES(1,1,3,-1.63362994790077209472e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(2,1,7,-2.03543335199356079101e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(3,1,10,-4.20003198087215423583e-02,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(4,1,13,-1.63908272981643676757e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(5,1,17,-6.03928789496421813964e-02,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(6,1,20,-8.60396176576614379882e-02,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(7,2,3,-3.86029779911041259765e-02,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(8,2,7,-1.95516377687454223632e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(9,2,10,-1.540317535400390625e-01,'FINITE');
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
INSERT INTO "trial_params" VALUES(1,1,'learning_rate',1.22474487139158919784e-04,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 3e-05, "high": 0.0005, "log": true}}');
INSERT INTO "trial_params" VALUES(2,1,'selection_ratio',0.7,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.2, "high": 0.9, "log": false}}');
INSERT INTO "trial_params" VALUES(3,1,'update_ratio',0.15,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.15, "high": 0.25, "log": true}}');
INSERT INTO "trial_params" VALUES(4,2,'learning_rate',4.79471406569845340133e-05,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 3e-05, "high": 0.0005, "log": true}}');
INSERT INTO "trial_params" VALUES(5,2,'selection_ratio',0.7,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.2, "high": 0.9, "log": false}}');
INSERT INTO "trial_params" VALUES(6,2,'update_ratio',0.15,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.15, "high": 0.25, "log": true}}');
INSERT INTO "trial_params" VALUES(7,3,'learning_rate',3.12844515741001339814e-04,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 3e-05, "high": 0.0005, "log": true}}');
INSERT INTO "trial_params" VALUES(8,3,'selection_ratio',0.7,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.2, "high": 0.9, "log": false}}');
INSERT INTO "trial_params" VALUES(9,3,'update_ratio',0.15,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.15, "high": 0.25, "log": true}}');
CREATE TABLE trial_system_attributes (
	trial_system_attribute_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (trial_system_attribute_id), 
	UNIQUE (trial_id, "key"), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_system_attributes" VALUES(1,1,'fixed_params','{"method": "dps-dense", "learning_rate": 0.00012247448713915892, "selection_ratio": 0.7, "update_ratio": 0.15}');
INSERT INTO "trial_system_attributes" VALUES(2,2,'fixed_params','{"method": "dps-dense", "learning_rate": 4.7947140656984534e-05, "selection_ratio": 0.7, "update_ratio": 0.15}');
INSERT INTO "trial_system_attributes" VALUES(3,3,'fixed_params','{"method": "dps-dense", "learning_rate": 0.00031284451574100134, "selection_ratio": 0.7, "update_ratio": 0.15}');
CREATE TABLE trial_user_attributes (
	trial_user_attribute_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (trial_user_attribute_id), 
	UNIQUE (trial_id, "key"), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_user_attributes" VALUES(1,1,'seed','0');
INSERT INTO "trial_user_attributes" VALUES(2,1,'configuration','{"method": "dps-dense", "learning_rate": 0.00012247448713915892, "selection_ratio": 0.7, "update_ratio": 0.15}');
INSERT INTO "trial_user_attributes" VALUES(3,1,'outcome','"completed"');
INSERT INTO "trial_user_attributes" VALUES(4,1,'seconds','12.202331565000122');
INSERT INTO "trial_user_attributes" VALUES(5,1,'slot','"c5f04382"');
INSERT INTO "trial_user_attributes" VALUES(6,1,'began','1795945762.588657');
INSERT INTO "trial_user_attributes" VALUES(7,1,'covered','"bert: 38 linear weights, 10.8 M of 22.7 M parameters"');
INSERT INTO "trial_user_attributes" VALUES(8,1,'selected_share','0.700002161391138');
INSERT INTO "trial_user_attributes" VALUES(9,1,'passes','20.0');
INSERT INTO "trial_user_attributes" VALUES(10,1,'peak_memory','1283543040');
INSERT INTO "trial_user_attributes" VALUES(11,1,'parts','{"start": 0.08864846699998452, "evaluation": 5.981221596999831, "report": 0.015264102000173807}');
INSERT INTO "trial_user_attributes" VALUES(12,2,'seed','0');
INSERT INTO "trial_user_attributes" VALUES(13,2,'configuration','{"method": "dps-dense", "learning_rate": 4.7947140656984534e-05, "selection_ratio": 0.7, "update_ratio": 0.15}');
INSERT INTO "trial_user_attributes" VALUES(14,2,'outcome','"stopped"');
INSERT INTO "trial_user_attributes" VALUES(15,2,'seconds','6.0082548749999205');
INSERT INTO "trial_user_attributes" VALUES(16,2,'slot','"c5f04382"');
INSERT INTO "trial_user_attributes" VALUES(17,2,'began','1795945774.919723');
INSERT INTO "trial_user_attributes" VALUES(18,2,'waited','0.12866998800018337');
INSERT INTO "trial_user_attributes" VALUES(19,3,'seed','0');
INSERT INTO "trial_user_attributes" VALUES(20,3,'configuration','{"method": "dps-dense", "learning_rate": 0.00031284451574100134, "selection_ratio": 0.7, "update_ratio": 0.15}');
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
INSERT INTO "trial_values" VALUES(1,1,0,-8.60396176576614379882e-02,'FINITE');
INSERT INTO "trial_values" VALUES(2,2,0,-1.540317535400390625e-01,'FINITE');
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
INSERT INTO "trials" VALUES(1,0,1,'COMPLETE','2026-11-29 09:49:15.992769','2026-11-29 09:49:34.826143');
INSERT INTO "trials" VALUES(2,1,1,'PRUNED','2026-11-29 09:49:34.869936','2026-11-29 09:49:41.001397');
INSERT INTO "trials" VALUES(3,2,1,'RUNNING','2026-11-29 09:49:41.014968',NULL);
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
